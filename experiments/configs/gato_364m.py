"""The paper's 364M network on the paper's mixture; gato_79m.py has the command.

Parameters, optimizer state and gradients take 5.4 GiB, so that data parallelism is still enough.
"""

import ml_collections

from experiments.configs import gato_79m


def get_config() -> ml_collections.ConfigDict:
  return gato_79m.get_config("gato_364m", peak_learning_rate=2e-4)
