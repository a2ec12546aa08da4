"""Against the nearest specialist: single-task policies, fine-tuned on a held-out task beside the generalist.

Same episodes, same steps. Every policy of the domain is a candidate: the nearest is the one whose loss on the new task
is lowest before it has learned anything of it, and the table shows how the others did.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/nearest_specialist.py
"""

import ml_collections

from experiments.configs import small
from gato_jax.studies import Run

TASKS = ("control_suite.cartpole-swingup",)
EPISODES = 10
STEPS = 300  # of a single-task policy: several times what the generalist spends on the task


def get_config() -> ml_collections.ConfigDict:
  config, runs = small.get_config(), []
  names = [f"{name}.{task}" for name, mix in config.domains.items() for task in mix.tasks]
  for task in TASKS:
    candidates = [name for name in names if name.split(".")[0] == task.split(".")[0]]
    runs += [Run(name, {"fine_tune.tasks": (name,), "train.steps": STEPS}, verbs=("train",)) for name in candidates]
    starts = {"generalist": small.WORKDIR, **{name.split(".")[1]: name for name in candidates}}
    runs += [
      Run(
        f"{task}-{arm}",
        small.fine_tune(task, EPISODES),
        {"arm": arm, "task": task, "episodes": EPISODES, "repeat": 0},
        starts_from=start,
      )
      for arm, start in starts.items()
    ]
  return small.study("nearest_specialist", "fine_tuning", runs)
