"""The paper's 79M network on the paper's mixture: 1M steps of 512 x 1024 tokens.

python -m experiments.train --config=experiments/configs/gato_79m.py

It was never run here: this machine has two cores. docs/preflight.md has the memory and the hours on
five TPU slices. The mesh is pure data parallelism: parameters and optimizer state take 1.2 GiB of
a device.
"""

import ml_collections

from experiments.configs import gato


def get_config(
  variant: str = "gato_79m", peak_learning_rate: float = 1e-4, mesh_fsdp: int = 1
) -> ml_collections.ConfigDict:
  """Returns the config of one of the paper's sizes.

  Args:
    variant: Size of the network, a key of gato_jax.model.VARIANTS.
    peak_learning_rate: The paper's for this size.
    mesh_fsdp: Number of devices that one copy of the parameters is split over.
  """
  config = gato.get_config(variant)
  config.name = variant

  # The numbers of Reed et al. 2022, section 3 and appendix C.2.
  config.data.sequence_length = 1024
  config.optimizer.update(
    peak_learning_rate=peak_learning_rate, warmup_steps=15_000, decay_steps=1_000_000
  )
  config.train.update(steps=1_000_000, batch_size=512, checkpoint_every=2_000, mesh_fsdp=mesh_fsdp)

  # Ours: the paper has up to millions of episodes of a task.
  config.collect.episodes = 1_000

  return config
