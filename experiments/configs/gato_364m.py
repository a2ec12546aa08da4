"""The paper's 364M: gato_79m.py at another size, still pure data parallelism (5.4 GiB of state and gradients)."""

import ml_collections

from experiments.configs import gato_79m


def get_config() -> ml_collections.ConfigDict:
  return gato_79m.get_config("gato_364m", peak_learning_rate=2e-4)
