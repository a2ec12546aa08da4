"""Attention of the first layer over images, and a map of the last layer's states.

for verb in collect build study report; do
  python -m experiments.$verb --config=experiments/configs/studies/embeddings.py
done

It interprets the checkpoint in work/small (experiments/configs/small.py); docs/interpret.md says
what is measured. The map also has the four held-out tasks, whose states lie near those of their
domain (docs/results.md).
"""

import ml_collections

from experiments.analysis import studies
from experiments.analysis.studies import StudyRun
from experiments.configs import small


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "embeddings"
  # Poor episodes are interpreted as well, as in probes.py.
  config.data.keep = 0.0
  config.interpret.update(parts=("attention", "map"), tasks=small.HELD_OUT, frames=1)

  run = StudyRun("all", plays=small.WORKDIR, verbs=("interpret",))
  config.study = studies.section("embeddings", [run])

  return config
