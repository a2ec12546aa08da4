"""A generalist small enough for two cores, which most studies start from or play.

for verb in collect build train evaluate report; do
  python -m experiments.$verb --config=experiments/configs/small.py
done

The paper's four held-out tasks, or their stand-ins here, are no part of it. 18 minutes of training
on two busy cores give 71 % of the expert's score over its 15 control tasks (docs/results.md).
"""

from typing import Any

import ml_collections

from experiments.analysis import studies
from experiments.configs import default

WORKDIR = "work/small"
HELD_OUT = (
  "control_suite.cartpole-swingup",
  "meta_world.assembly-v3",
  "labyrinth.apples_in_order",
  "atari.boxing",
)
STEPS = 2000


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "small"
  config.domains = default.domains(
    control_suite=(0.25, "cartpole-balance", "pendulum-swingup", "point_mass-easy"),
    meta_world=(
      0.3,
      "button-press-v3",
      "dial-turn-v3",
      "door-lock-v3",
      "plate-slide-v3",
      "reach-v3",
      "window-close-v3",
    ),
    labyrinth=(0.25, "boxes_in_order", "forage", "hallway", "one_room"),
    atari=(0.08, "breakout", "freeway"),
    conceptual_captions=(0.08, "scenes"),
    text=(0.04, "python_docs"),
  )

  default.one_step_context(config, 96)
  # Rows are packed: the paper's five image-text pairs do not fit.
  config.data.pairs = 0

  # 3.6M parameters, 3.2M of them the token table.
  config.model.update(width=96, heads=3, layers=3, feed_forward=384, key_size=32)
  config.optimizer.peak_learning_rate = 2e-3
  config.train.update(steps=STEPS, batch_size=32)
  config.evaluate.update(episodes=20, videos=False)

  # An episode of Atari's expert, which plans by rollouts, takes a minute.
  config.collect.domain_episodes = ml_collections.ConfigDict(
    dict(control_suite=120, meta_world=120, labyrinth=200, atari=10)
  )
  # The MuJoCo experts are pushed off their path, so that the network sees how to come back.
  config.collect.disturbance = ml_collections.ConfigDict(dict(control_suite=0.3, meta_world=0.25))

  return config


def study(name: str, kind: str, runs: list[studies.StudyRun]) -> ml_collections.ConfigDict:
  """Returns this config with a study; other studies may start from work/<name>/<run>.

  Args:
    name: Name of the study.
    kind: What its report shows, a module of experiments/analysis/report/sections/.
    runs: The runs of the study.
  """
  config = get_config()
  config.name = name
  config.study = studies.section(kind, runs)

  return config


def without(*held_out: str) -> dict[str, Any]:
  """Returns the changes of a run that lacks domains or tasks.

  It sees the remaining tasks as often as the generalist does, so that it takes fewer steps.

  Args:
    *held_out: Names "domain" or "domain.task".
  """
  config = get_config()
  total = sum(entry.weight for entry in config.domains.values())

  remaining = 0.0
  for name, entry in config.domains.items():
    tasks = [task for task in entry.tasks if not {name, f"{name}.{task}"} & set(held_out)]
    remaining += entry.weight * len(tasks) / len(entry.tasks)

  return {"held_out": held_out, "train.steps": round(STEPS * remaining / total)}


def only(domain: str) -> dict[str, Any]:
  """Returns the changes of a run that has one domain alone."""
  return without(*(name for name in get_config().domains if name != domain))


def fine_tune(task: str, episodes: int = 0, repeat: int = 0, steps: int = 300) -> dict[str, Any]:
  """Returns the changes of a run that is fine-tuned on a task (Reed et al. 2022, appendix E).

  Args:
    task: Name "domain.task".
    episodes: Number of its episodes that train; 0 takes all.
    repeat: Number of the repetition, which seeds everything that is random.
    steps: Training steps.
  """
  return {
    "fine_tune.tasks": (task,),
    "fine_tune.episodes": episodes,
    "data.draw": repeat,
    "data.seed": repeat,
    "train.seed": repeat,
    # The paper: 10,000 steps of 64 x 1024 tokens.
    "train.steps": steps,
    "train.batch_size": 8,
    # Played at every fifth of the run; the best moving average of 5 counts.
    "train.checkpoint_every": steps // 5,
    "train.keep": 5,
    "train.log_every": 10,
    "model.dropout": 0.1,
    # A constant rate without decay, as in the paper, whose 1e-5 is for 364M parameters.
    "optimizer.peak_learning_rate": 5e-4,
    "optimizer.warmup_steps": 0,
    "optimizer.final_fraction": 1.0,
    "optimizer.weight_decay": 0.0,
    "evaluate.episodes": 8,
  }
