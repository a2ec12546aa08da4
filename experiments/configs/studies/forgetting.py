"""Forgetting: the old tasks before and after fine-tuning on one task, with and without replay.

0, 5 and 25 % of the sequences come from the old mixture.

python -m experiments.train --config=experiments/configs/small.py
python -m experiments.study --config=experiments/configs/studies/forgetting.py

Three runs of 300 steps. Without replay the tasks of the new task's domain are forgotten, those of
other domains hardly (docs/results.md).
"""

from typing import Any

import ml_collections

from experiments.analysis.studies import StudyRun
from experiments.configs import small

TASK = "meta_world.assembly-v3"
OLD = ("control_suite", "meta_world", "labyrinth")
REPLAY = (0.0, 0.05, 0.25)


def get_config() -> ml_collections.ConfigDict:
  before_changes: dict[str, Any] = {"evaluate.tasks": OLD, "evaluate.episodes": 10}
  before = StudyRun(
    "before",
    before_changes,
    labels={"arm": "before"},
    plays=small.WORKDIR,
    verbs=("evaluate",),
  )

  after = []
  for share in REPLAY:
    changes = small.fine_tune(TASK) | {
      "fine_tune.replay": share,
      # Only the end counts, so that one checkpoint is kept and played.
      "train.keep": 1,
      "evaluate.tasks": (*OLD, TASK),
      "evaluate.episodes": 10,
    }
    run = StudyRun(
      f"replay-{share:g}",
      changes,
      labels={"arm": f"{share:.0%} replayed"},
      starts_from=small.WORKDIR,
    )
    after.append(run)

  return small.study("forgetting", "scores", runs=[before, *after])
