"""Parameters of modules: created with logical axes, gathered and multiplied where they are used."""

from collections.abc import Sequence
from typing import cast

import flax.linen as nn
import jax
import jax.numpy as jnp

from gato_jax.model import sharding


def parameter(
  module: nn.Module,
  name: str,
  initializer: nn.initializers.Initializer,
  axes: Sequence[str],
  shape: Sequence[int],
  dtype: str = "float32",
) -> jax.Array:
  """Returns a float32 parameter of a module.

  A training step hands every device its shard along fsdp. The shards are gathered here, rounded to
  `dtype`, so that a block's weights are complete only while the block computes. The gradient is
  reduce-scattered in float32.

  Args:
    module: Owner of the parameter.
    name: Name within the module.
    initializer: Makes the first values.
    axes: Logical axes, of the table in gato_jax/model/sharding.py.
    shape: Shape of the complete parameter.
    dtype: Precision in which shards are gathered.

  Raises:
    ValueError: The stored parameter has another shape.
  """
  if module.is_initializing():
    boxed_initializer = nn.with_logical_partitioning(initializer, tuple(axes))
    return cast(jax.Array, module.param(name, boxed_initializer, tuple(shape)))

  # Not module.param, which would compare the shape of a shard with that of the whole.
  shard: jax.Array = module.get_variable("params", name)
  value = sharding.gather(shard, axes, jnp.dtype(dtype))

  if value.shape != tuple(shape):
    path = "/".join((*module.path, name))
    raise ValueError(f"parameter {path} has shape {value.shape}, the config says {shape}")
  return value


def linear(x: jax.Array, weight: jax.Array, as_matrix: bool) -> jax.Array:
  """Multiplies [B, L, d] by a weight [d, ...] into [B, L, ...].

  Args:
    x: Inputs.
    weight: Weight with any number of output axes.
    as_matrix: True computes one product of two matrices. Acting stores its weights that way;
      otherwise TPUs would transpose them in every step. Training shards the weight's axes, which a
      matrix would not keep apart.
  """
  weight = weight.astype(x.dtype)
  if not as_matrix:
    return jnp.tensordot(x, weight, 1)

  product = x @ weight.reshape(len(weight), -1)
  return product.reshape(*x.shape[:-1], *weight.shape[1:])
