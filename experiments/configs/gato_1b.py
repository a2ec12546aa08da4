"""The paper's 1.18B: gato_79m.py at another size."""

import ml_collections

from experiments.configs import gato_79m


def get_config() -> ml_collections.ConfigDict:
  return gato_79m.get_config("gato_1b", peak_learning_rate=1e-4)
