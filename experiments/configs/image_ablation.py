"""What does fine-tuning keep of images, and of control? No image data, no control data, neither, against all.

Each network sees what is left to it as often as the generalist does; then all are fine-tuned on a held-out task with
images and on one without.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/image_ablation.py
"""

import ml_collections

from experiments.configs import small
from gato_jax.studies import Run

IMAGES = ("labyrinth", "atari", "conceptual_captions")
CONTROL = ("control_suite", "meta_world", "labyrinth", "atari")
ARMS = {"no_images": IMAGES, "no_control": CONTROL, "neither": tuple({*IMAGES, *CONTROL})}
TASKS = ("labyrinth.apples_in_order", "meta_world.assembly-v3")
EPISODES = 10


def get_config() -> ml_collections.ConfigDict:
  pretrained = [Run(arm, small.without(*sorted(held_out)), verbs=("train",)) for arm, held_out in ARMS.items()]
  starts = {"all": small.WORKDIR, **{arm: arm for arm in ARMS}, "scratch": ""}
  tuned = [
    Run(
      f"{arm}-{task}",
      small.fine_tune(task, EPISODES),
      {"arm": arm, "task": task, "episodes": EPISODES, "repeat": 0},
      starts_from=start,
    )
    for task in TASKS
    for arm, start in starts.items()
  ]
  return small.study("image_ablation", "fine_tuning", [*pretrained, *tuned])
