"""The paper's 1.18B network on the paper's mixture; gato_79m.py has the command.

Parameters, optimizer state and gradients take 17.6 GiB, more than a chip of 16 GiB has, so they are
split over 4 devices (docs/preflight.md). With fewer devices set --config.train.mesh_fsdp.
"""

import ml_collections

from experiments.configs import gato_79m


def get_config() -> ml_collections.ConfigDict:
  return gato_79m.get_config("gato_1b", peak_learning_rate=1e-4, mesh_fsdp=4)
