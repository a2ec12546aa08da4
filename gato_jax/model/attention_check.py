"""Compares the Pallas kernel with the plain path, on the device of this process."""

import concurrent.futures
import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model import attention_choice, visibility
from gato_jax.model.attention import RelativeAttention, WindowMask, distance_table
from gato_jax.model.config import GatoConfig
from gato_jax.tokens import vocabulary

# Of the largest number of an array. Rounding to bfloat16 alone gives up to a hundredth in both
# paths; a tile that is shifted by one position gives about 1.
TOLERANCE = {"float32": 1e-3, "bfloat16": 4e-2}

_ROWS, _LENGTH = 2, 512


@functools.cache
def disagreement(heads: int, key_size: int, dtype: str) -> str | None:
  """Returns what differs between the two paths, in words; None where they agree.

  It takes some seconds, once in a process.

  Args:
    heads: Heads of the network.
    key_size: Of the network.
    dtype: Of the network.
  """
  # This is called while a program is traced. A trace belongs to its thread, and so does a mesh that
  # is set, so another thread computes.
  with concurrent.futures.ThreadPoolExecutor(1) as pool:
    errors = pool.submit(largest_errors, heads, key_size, dtype).result()

  worst = max(errors, key=lambda name: errors[name])
  # Not a number is no agreement.
  if errors[worst] <= TOLERANCE[dtype]:
    return None
  return f"it differs from the plain path on this device ({worst}: {errors[worst]:.1e} of the most)"


def largest_errors(
  heads: int, key_size: int, dtype: str, name: str = "pallas", length: int = _LENGTH
) -> dict[str, float]:
  """Returns array -> the largest difference between an implementation and the plain path.

  The arrays are the output and the gradients of input and parameters, and differences are given in
  parts of the array's largest number.

  Args:
    heads: Heads of the network; two runs of the kernel are computed at most.
    key_size: Of the network.
    dtype: Of the network.
    name: The implementation.
    length: Positions of a row.
  """
  heads = min(heads, 2 * (attention_choice.heads_of_run(heads, key_size) or heads))
  config = GatoConfig(
    layers=1,
    heads=heads,
    width=heads * key_size,
    feed_forward=2,
    key_size=key_size,
    dtype=dtype,
    past_actions="hidden",
  )
  expected, found = (
    _results(dataclasses.replace(config, attention=kind), length) for kind in ("xla", name)
  )

  errors = {}
  for (path, a), b in zip(
    jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(found), strict=True
  ):
    errors[jax.tree_util.keystr(path)] = float(np.abs(b - a).max() / np.abs(a).max())
  return errors


def _results(config: GatoConfig, length: int) -> Any:
  """Returns the output and the gradients of one layer, float32 on the host."""
  random = np.random.default_rng(0)

  # A few segments, prompts and padding, with actions in every step.
  shape = (_ROWS, length)
  kinds = random.integers(0, len(vocabulary.Kind), shape)
  segments = 1 + (random.random(shape) < 4 / length).cumsum(axis=1)
  prompts = random.random(shape) < 0.5
  codes = visibility.window_codes(*map(jnp.asarray, (kinds, segments, prompts)))
  mask = WindowMask(
    visibility.window_mask(codes), distance_table(length - 1, config.width), codes=codes
  )
  x, d_out = (random.normal(size=(*shape, config.width)).astype(np.float32) for _ in range(2))
  layer = RelativeAttention(config)

  @jax.jit
  def compute(x: jax.Array, d_out: jax.Array) -> Any:
    params = nn.unbox(layer.init(jax.random.key(0), x, mask)["params"])

    def apply(params: Any, x: jax.Array) -> jax.Array:
      out: Any = layer.apply({"params": params}, x.astype(config.dtype), mask)
      return out.astype(jnp.float32)

    out, transpose = jax.vjp(apply, params, x)
    return {"output": out, "gradient": transpose(d_out)}

  return jax.device_get(jax.tree.map(lambda a: a.astype(jnp.float32), compute(x, d_out)))
