"""Against the nearest specialist: is fine-tuning better from the generalist or from one policy?

Single-task policies are fine-tuned on a held-out task of their domain beside the generalist, on the
same episodes and for as many steps. The nearest policy is the one whose loss on the new task is
lowest before it has learned anything of it; the report also shows how the others did.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/studies/nearest_specialist.py

Three pre-trainings and four fine-tunings of 300 steps. On cartpole-swingup the starting points do
not differ (docs/results.md).
"""

import ml_collections

from experiments.analysis.studies import StudyRun
from experiments.configs import small

TASKS = ("control_suite.cartpole-swingup",)
EPISODES = 10
STEPS = 300  # of a single-task policy: several times what the generalist spends on the task


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  names = [f"{domain}.{task}" for domain, entry in config.domains.items() for task in entry.tasks]

  runs = []
  for task in TASKS:
    domain = task.split(".")[0]
    candidates = [name for name in names if name.split(".")[0] == domain]
    for name in candidates:
      changes = {"fine_tune.tasks": (name,), "train.steps": STEPS}
      runs.append(StudyRun(name, changes, verbs=("train",)))

    starts = {"generalist": small.WORKDIR, **{name.split(".")[1]: name for name in candidates}}
    for arm, start in starts.items():
      run = StudyRun(
        f"{task}-{arm}",
        small.fine_tune(task, EPISODES),
        labels={"arm": arm, "task": task, "episodes": EPISODES, "repeat": 0},
        starts_from=start,
      )
      runs.append(run)

  return small.study("nearest_specialist", "fine_tuning", runs=runs)
