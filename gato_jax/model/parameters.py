"""How a module gets its parameters: with logical axes when they are made, whole where they are used."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from gato_jax import sharding


def parameter(
  module: nn.Module,
  name: str,
  initializer: nn.initializers.Initializer,
  axes: Sequence[str],
  shape: Sequence[int],
  dtype: str = "float32",
) -> jax.Array:
  """The float32 parameter `name` of `shape`; axes: its logical axes, of gato_jax/sharding.py's table.

  A training step hands every device its shard along fsdp. It is gathered here, rounded to `dtype`, so that a block's
  weights are whole only while the block computes; the gradient goes back reduce-scattered, in float32.
  """
  if module.is_initializing():
    return module.param(name, nn.with_logical_partitioning(initializer, tuple(axes)), tuple(shape))
  value = sharding.gather(module.get_variable("params", name), axes, jnp.dtype(dtype))
  if value.shape != tuple(shape):
    raise ValueError(f"parameter {'/'.join((*module.path, name))} has shape {value.shape}, the config says {shape}")
  return value
