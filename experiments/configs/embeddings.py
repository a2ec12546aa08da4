"""Attention of the first layer over frames, and a map of the last layer's states with the four held-out tasks in it.

for verb in collect build study report; do
  python -m experiments.$verb --config=experiments/configs/embeddings.py
done

work/small is looked at (experiments/configs/small.py); docs/interpret.md says what is measured.
"""

import ml_collections

from experiments.configs import small
from gato_jax import studies
from gato_jax.studies import Run


def get_config() -> ml_collections.ConfigDict:
  config = small.get_config()
  config.name = "embeddings"
  config.data.keep = 0.0  # as in probes.py
  config.interpret.update(parts=("attention", "map"), tasks=small.HELD_OUT, frames=1)
  config.study = studies.section("embeddings", [Run("all", plays=small.WORKDIR, verbs=("interpret",))])
  return config
