"""Fine-tuning on a test triplet of RGB stacking (Reed et al. 2022, section 5.3, Figure 10).

By number of episodes, from the network of skill generalisation and from scratch.

python -m experiments.study --config=experiments/configs/rgb_stacking.py
python -m experiments.study --config=experiments/configs/studies/rgb_fine_tuning.py

The first trains what the second starts from. Six runs of 150 steps, and minutes for each
evaluation; it was not run to its end here (docs/results.md).
"""

import ml_collections

from experiments.analysis import studies
from experiments.configs import rgb_stacking, small

TASK = "rgb_stacking.triplet4"
EPISODES = (1, 3, 9)
STEPS = 150
STARTS = {"skill generalisation": "work/rgb_stacking/generalisation", "scratch": ""}


def get_config() -> ml_collections.ConfigDict:
  config = rgb_stacking.get_config()
  config.name = "rgb_fine_tuning"
  # Without a validation split: there are few episodes, and all may be asked for.
  config.data.validation_every = 0

  # Rendering two cameras makes an evaluation take minutes: only the end of a run is played.
  play_once = {
    "train.checkpoint_every": STEPS,
    "train.keep": 1,
    "evaluate.tasks": (TASK,),
    "train.validation_batches": 0,
  }

  runs = []
  for episodes in EPISODES:
    for arm, start in STARTS.items():
      run = studies.StudyRun(
        f"{arm.replace(' ', '_')}-{episodes}",
        small.fine_tune(TASK, episodes, steps=STEPS) | play_once,
        labels={"arm": arm, "task": TASK, "episodes": episodes, "repeat": 0},
        starts_from=start,
      )
      runs.append(run)

  config.study = ml_collections.ConfigDict(studies.section("fine_tuning", runs))

  return config
