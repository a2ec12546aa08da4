"""Inputs of the fused attention, and the plain one on the same inputs."""

import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model import attention, relative_flash, visibility
from gato_jax.tokens.vocabulary import Kind


def make_inputs(
  heads: int, key_size: int, length: int, dtype: str, is_hidden: bool, rows: int = 2
) -> relative_flash.Inputs:
  """Returns random inputs with segments, padding, prompts and actions."""
  random = np.random.default_rng(0)
  shape = (rows, length)
  kinds = random.integers(0, len(Kind), shape).astype(np.int32)
  segments = 1 + (random.random(shape) < 2 / length).cumsum(axis=1)
  prompts = random.random(shape) < 0.5
  width = heads * key_size

  def normal(*shape: int) -> jax.Array:
    # Rounded in any case, so that both dtypes compute with the same numbers.
    return jnp.asarray(random.normal(size=shape), jnp.bfloat16).astype(dtype)

  biases = (normal(1, width).astype(jnp.float32) for _ in range(2))
  codes = visibility.window_codes(kinds, segments, prompts if is_hidden else None)
  rows_of_heads = (normal(*shape, width) for _ in range(3))
  return relative_flash.Inputs(codes, *biases, *rows_of_heads, normal(length, width))


def plain(inputs: relative_flash.Inputs, key_size: int) -> jax.Array:
  """Returns what `relative_attention` should, by way of all scores, in float32."""
  rows, length, width = inputs.q.shape
  heads = width // key_size

  def by_head(x: jax.Array) -> jax.Array:
    return x.astype(jnp.float32).reshape(*x.shape[:-1], heads, key_size)

  q, k, v, content_bias, distance_bias, relative_k = map(
    by_head, (inputs.q, inputs.k, inputs.v, *inputs[1:3], inputs.relative_k)
  )
  # The shift needs a padding at distance -1.
  relative_k = jnp.pad(relative_k, ((0, 1), (0, 0), (0, 0)))
  content = jnp.einsum("blhk,bmhk->hblm", q + content_bias, k)
  distance = jnp.einsum("blhk,mhk->hblm", q + distance_bias, relative_k)

  scores = key_size**-0.5 * (content + attention._relative_shift(distance, 0))
  scores = jnp.where(visibility.window_mask(inputs.codes), scores, -1e30)
  mixed = jnp.einsum("hblm,bmhk->blhk", jax.nn.softmax(scores, axis=-1), v)
  return mixed.reshape(rows, length, width)
