"""Forgetting: fine-tuned on one task with 0, 5 and 25 % of the old mixture replayed; the old tasks before and after.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/forgetting.py
"""

import ml_collections

from experiments.configs import small
from gato_jax.studies import Run

TASK = "meta_world.assembly-v3"
OLD = ("control_suite", "meta_world", "labyrinth")
REPLAY = (0.0, 0.05, 0.25)


def get_config() -> ml_collections.ConfigDict:
  played = {"evaluate.tasks": (*OLD, TASK), "evaluate.episodes": 10}
  before = Run("before", {**played, "evaluate.tasks": OLD}, {"arm": "before"}, plays=small.WORKDIR, verbs=("evaluate",))
  after = [
    Run(
      f"replay-{share:g}",
      {**small.fine_tune(TASK), "fine_tune.replay": share, "train.keep": 1, **played},
      {"arm": f"{share:.0%} replayed"},
      starts_from=small.WORKDIR,
    )
    for share in REPLAY
  ]
  return small.study("forgetting", "scores", [before, *after])
