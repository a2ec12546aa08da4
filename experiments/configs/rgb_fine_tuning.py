"""Fine-tuning on a test triplet of RGB stacking by number of episodes (Reed et al. 2022, section 5.3, Figure 10).

for study in rgb_stacking rgb_fine_tuning; do
  python -m experiments.study --config=experiments/configs/$study.py     # the first trains what this begins with
done
"""

import ml_collections

from experiments.configs import rgb_stacking, small
from gato_jax import studies

TASK = "rgb_stacking.triplet4"
EPISODES = (1, 3, 9)
STEPS = 150
STARTS = {"skill generalisation": "work/rgb_stacking/generalisation", "scratch": ""}


def get_config() -> ml_collections.ConfigDict:
  config = rgb_stacking.get_config()
  config.name = "rgb_fine_tuning"
  config.data.hold_out = 0  # all that count may be asked for
  runs = []
  for n in EPISODES:
    for arm, start in STARTS.items():
      # An evaluation costs minutes, the cameras: once, at the end.
      once = {"train.checkpoint_every": STEPS, "train.keep": 1, "evaluate.tasks": (TASK,), "train.held_out_batches": 0}
      labels = {"arm": arm, "task": TASK, "episodes": n, "repeat": 0}
      changes = small.fine_tune(TASK, n, steps=STEPS) | once
      runs.append(studies.Run(f"{arm.replace(' ', '_')}-{n}", changes, labels, starts_from=start))
  config.study = ml_collections.ConfigDict(studies.section("fine_tuning", runs))
  return config
