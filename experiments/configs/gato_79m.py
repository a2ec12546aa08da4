"""The paper's 79M on the paper's mixture: 1M steps of 512 x 1024 tokens.

python -m experiments.train --config=experiments/configs/gato_79m.py (never run here: this machine has two cores)

The mesh is pure data parallelism: parameters and optimizer take 1.2 GiB of a device. docs/preflight.md has the memory
on five TPU slices.
"""

import ml_collections

from experiments.configs import gato


def get_config(
  variant: str = "gato_79m", peak_learning_rate: float = 1e-4, mesh_fsdp: int = 1
) -> ml_collections.ConfigDict:
  config = gato.get_config(variant)
  config.name = variant
  config.data.sequence_length = 1024
  config.optimizer.update(peak_learning_rate=peak_learning_rate, warmup_steps=15_000, decay_steps=1_000_000)
  config.train.update(steps=1_000_000, batch_size=512, checkpoint_every=2_000, mesh_fsdp=mesh_fsdp)
  config.collect.episodes = 1_000
  return config
