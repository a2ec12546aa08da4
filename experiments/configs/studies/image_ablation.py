"""Image ablation: does fine-tuning gain from image data, and from control data?

Networks without image data, without control data and without either are compared with one that
has seen all, and with one that has seen nothing. Each sees what is left to it as often as the
generalist does; then all are fine-tuned on a held-out task with images and on one without.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/studies/image_ablation.py

Three short pre-trainings and ten runs of 300 steps. What came out: docs/results.md.
"""

import ml_collections

from experiments.analysis.studies import StudyRun
from experiments.configs import small

IMAGES = ("labyrinth", "atari", "conceptual_captions")
CONTROL = ("control_suite", "meta_world", "labyrinth", "atari")
ARMS = {"no_images": IMAGES, "no_control": CONTROL, "neither": tuple({*IMAGES, *CONTROL})}
TASKS = ("labyrinth.apples_in_order", "meta_world.assembly-v3")
EPISODES = 10


def get_config() -> ml_collections.ConfigDict:
  # Sorted, since the order of the set in ARMS differs between processes, and settings are hashed.
  pretrained = [
    StudyRun(arm, small.without(*sorted(held_out)), verbs=("train",))
    for arm, held_out in ARMS.items()
  ]

  starts = {"all": small.WORKDIR, **{arm: arm for arm in ARMS}, "scratch": ""}
  fine_tuned = []
  for task in TASKS:
    for arm, start in starts.items():
      run = StudyRun(
        f"{arm}-{task}",
        small.fine_tune(task, EPISODES),
        labels={"arm": arm, "task": task, "episodes": EPISODES, "repeat": 0},
        starts_from=start,
      )
      fine_tuned.append(run)

  return small.study("image_ablation", "fine_tuning", runs=[*pretrained, *fine_tuned])
