"""From a batch to vectors (GATO_SPEC section 2; Reed et al. 2022, section 2.2 and appendix C.2-C.3).

Shapes: B rows, L positions, P patches a row, C channels of the patch embedder, d width.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model.config import GatoConfig
from gato_jax.model.parameters import parameter
from gato_jax.tokens import vocabulary

_ROOT_SIDE = 8  # the root convolution's side and stride: a 16 x 16 patch becomes a 2 x 2 map
_MAP_SIDE = vocabulary.PATCH_SIDE // _ROOT_SIDE
_GROUPS = 32


def table_initializer(config: GatoConfig) -> nn.initializers.Initializer:
  """Rows of norm 1: the tied output then starts with logits of variance 1. Inputs are scaled by sqrt(d)."""
  return nn.initializers.normal(config.width**-0.5)


def token_initializer(config: GatoConfig) -> nn.initializers.Initializer:
  """`table_initializer`, but the rows of continuous bins start as waves of the bin's place on [0, 1].

  The paper gives no initialisation. With independent rows the network has to learn the order of 1,024 numbers from
  data; as waves of 1/2 to 128 periods, neighbours start alike in the input and, the table being tied, in the logits.
  """

  def initialize(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32) -> jax.Array:
    width = config.width
    phases = jax.random.uniform(jax.random.fold_in(key, 1), (width,), maxval=2 * np.pi)
    periods = np.geomspace(0.5, 128.0, width)
    place = (np.arange(vocabulary.CONTINUOUS_BINS) + 0.5) / vocabulary.CONTINUOUS_BINS
    waves = jnp.sqrt(2 / width) * jnp.cos(2 * np.pi * place[:, None] * periods + phases)
    table = table_initializer(config)(key, shape, dtype)
    start = vocabulary.CONTINUOUS_OFFSET
    return table.at[start : start + vocabulary.CONTINUOUS_BINS].set(waves.astype(dtype))

  return initialize


class _Convolution3x3(nn.Module):
  """A 3 x 3 convolution with zero padding on a flattened 2 x 2 map [.., 4C], computed as one [4C, 4C] product.

  Only 16 of the 36 taps lie inside the map, so this is fewer operations than the convolution, and far faster on CPUs.
  """

  channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    c = self.channels
    initializer = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    kernel = parameter(self, "kernel", initializer, ("patch",) * 4, (3, 3, c, c))
    bias = parameter(self, "bias", nn.initializers.zeros, ("patch",), (c,))
    # Tap of the kernel through which input place i reaches output place o, in each of the two dimensions.
    tap = 1 + np.arange(_MAP_SIDE)[:, None] - np.arange(_MAP_SIDE)[None, :]
    dense = kernel[tap[:, None, :, None], tap[None, :, None, :]]  # [row in, column in, row out, column out, C, C]
    dense = dense.transpose(0, 1, 4, 2, 3, 5).reshape(4 * c, 4 * c)
    return x @ dense.astype(x.dtype) + jnp.tile(bias, 4).astype(x.dtype)


class _GroupNorm(nn.Module):
  """GroupNorm of a flattened 2 x 2 map [.., 4C], statistics in float32."""

  channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    scale = parameter(self, "scale", nn.initializers.ones, ("patch",), (self.channels,))
    bias = parameter(self, "bias", nn.initializers.zeros, ("patch",), (self.channels,))
    grouped = x.astype(jnp.float32).reshape(*x.shape[:-1], 4, _GROUPS, self.channels // _GROUPS)
    mean = grouped.mean((-3, -1), keepdims=True)
    variance = jnp.square(grouped - mean).mean((-3, -1), keepdims=True)
    normal = ((grouped - mean) * jax.lax.rsqrt(variance + 1e-6)).reshape(x.shape)
    return (normal * jnp.tile(scale, 4) + jnp.tile(bias, 4)).astype(x.dtype)


class PatchEmbedder(nn.Module):
  """uint8 patches [B, P, 16, 16, 3] -> [B, P, d]: root convolution and one pre-activation (v2) ResNet block.

  The map is flattened, not pooled, so the place inside the patch is kept (a ball in Pong is 2 pixels).
  """

  config: GatoConfig

  @nn.compact
  def __call__(self, patches: jax.Array) -> jax.Array:
    config, c = self.config, self.config.patch_channels
    dtype = jnp.dtype(config.dtype)
    fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    pixels = (patches.astype(jnp.float32) / 127.5 - 1.0) / np.sqrt(vocabulary.PATCH_SIDE)
    # An 8 x 8 convolution of stride 8 is a product of each 8 x 8 x 3 block with one matrix.
    blocks = pixels.reshape(*patches.shape[:2], _MAP_SIDE, _ROOT_SIDE, _MAP_SIDE, _ROOT_SIDE, 3)
    blocks = blocks.swapaxes(3, 4).reshape(*patches.shape[:2], _MAP_SIDE**2, _ROOT_SIDE**2 * 3).astype(dtype)
    root = parameter(self, "root_kernel", fan_in, ("patch", "patch"), (_ROOT_SIDE**2 * 3, c))
    root_bias = parameter(self, "root_bias", nn.initializers.zeros, ("patch",), (c,))
    x = (blocks @ root.astype(dtype) + root_bias.astype(dtype)).reshape(*patches.shape[:2], 4 * c)

    h = nn.gelu(_GroupNorm(c, name="norm_1")(x))
    h = _Convolution3x3(c, name="conv_1")(h)
    h = nn.gelu(_GroupNorm(c, name="norm_2")(h))
    x = x + _Convolution3x3(c, name="conv_2")(h)

    out = parameter(self, "out_kernel", fan_in, ("patch", "embed"), (4 * c, config.width), config.dtype)
    return x @ out.astype(dtype)


class Embedding(nn.Module):
  """Everything a position's input vector is the sum of; also the output projection, tied to the token table."""

  config: GatoConfig

  def setup(self):
    config = self.config
    initializer = table_initializer(config)

    def table(name: str, initializer: nn.initializers.Initializer, axis: str, rows: int) -> jax.Array:
      return parameter(self, name, initializer, (axis, "embed"), (rows, config.width), config.dtype)

    self.tokens = table("tokens", token_initializer(config), "vocab", vocabulary.SIZE)
    self.local_positions = table("local_positions", initializer, "positions", config.max_local_positions)
    self.action_position = table("action_position", initializer, "positions", 1)
    self.row_positions = table("row_positions", initializer, "positions", vocabulary.PATCH_INTERVALS)
    self.column_positions = table("column_positions", initializer, "positions", vocabulary.PATCH_INTERVALS)
    self.patch_embedder = PatchEmbedder(config)

  def __call__(self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None) -> jax.Array:
    """Batch as in docs/batch.md (segments and targets are not read) -> [B, L, d].

    `rows`: int32 [B], the rows' numbers in the global batch, in training; None: patch positions are not drawn.
    """
    config = self.config
    kinds, local = batch["kinds"], batch["locals"]
    is_patch = kinds == vocabulary.Kind.PATCH
    has_token = ~is_patch & (kinds != vocabulary.Kind.PADDING)
    scale = np.sqrt(config.width).astype(np.float32)

    def take(table: jax.Array, index: jax.Array, where: jax.Array) -> jax.Array:
      return jnp.where(where[..., None], table[index], 0.0)

    x = take(self.tokens, batch["tokens"], has_token)
    x += take(self.local_positions, local, local >= 0)
    x += jnp.where((kinds == vocabulary.Kind.ACTION)[..., None], self.action_position[0], 0.0)
    x = (x * scale).astype(config.dtype)
    if batch["patches"].shape[1]:
      patches = self.patch_embedder(batch["patches"])
      patches += (self._patch_positions(batch["patch_positions"], rows) * scale).astype(config.dtype)
      at_slot = jnp.take_along_axis(patches, batch["patch_slots"][..., None], axis=1)
      x += jnp.where(is_patch[..., None], at_slot, 0.0)
    return x

  def _patch_positions(self, intervals: jax.Array, rows: jax.Array | None) -> jax.Array:
    """[B, P, 4] row low, row high, column low, column high (high exclusive) -> [B, P, d].

    Training draws an index uniformly from [low, high); evaluation takes floor((low + high) / 2), which lies inside.
    """
    low, high = intervals[..., 0::2], intervals[..., 1::2]
    if rows is not None:
      keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("train"), rows)
      uniform = jax.vmap(lambda key: jax.random.uniform(key, low.shape[1:]))(keys)
      index = low + jnp.floor(uniform * (high - low)).astype(jnp.int32)
    else:
      index = (low + high) // 2
    return self.row_positions[index[..., 0]] + self.column_positions[index[..., 1]]

  def logits(self, hidden: jax.Array, ids: jax.Array | slice | None = None) -> jax.Array:
    """[.., d] -> float32 [.., 33,025], or of the rows `ids` of the table only."""
    table = self.tokens if ids is None else self.tokens[ids]
    dtype = jnp.dtype(self.config.dtype)
    return jnp.einsum("...d,vd->...v", hidden.astype(dtype), table.astype(dtype), preferred_element_type=jnp.float32)
