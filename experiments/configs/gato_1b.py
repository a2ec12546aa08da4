"""The paper's 1.18B: gato_79m.py at another size.

Whole, parameters, optimizer and gradients are 17.6 GiB, more than a 16 GiB chip has: they are split over 4 devices
(docs/preflight.md). With fewer, set --config.train.mesh_fsdp.
"""

import ml_collections

from experiments.configs import gato_79m


def get_config() -> ml_collections.ConfigDict:
  return gato_79m.get_config("gato_1b", peak_learning_rate=1e-4, mesh_fsdp=4)
