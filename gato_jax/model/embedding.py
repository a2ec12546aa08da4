"""Input vectors of a batch (Reed et al. 2022, section 2.2 and appendices C.2 and C.3).

Legend of shapes:
  B: rows
  L: positions
  P: image patches of a row
  C: channels of the patch embedder
  D: width
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model.config import GatoConfig
from gato_jax.model.parameters import parameter
from gato_jax.tokens import vocabulary

# Side and stride of the root convolution: a patch of 16 x 16 pixels becomes a 2 x 2 map.
_ROOT_SIDE = 8
_MAP_SIDE = vocabulary.PATCH_SIDE // _ROOT_SIDE
_MAP_CELLS = _MAP_SIDE**2

# Groups of the group norm (Reed et al. 2022, appendix C.2).
_GROUPS = 32


def table_initializer(config: GatoConfig) -> nn.initializers.Initializer:
  """Returns an initializer of rows of norm 1.

  The output projection is tied to the table, so logits start with variance 1. Inputs are scaled by
  the square root of the width.
  """
  return nn.initializers.normal(config.width**-0.5)


def token_initializer(config: GatoConfig) -> nn.initializers.Initializer:
  """Returns `table_initializer`, but with waves over [0, 1] in the rows of continuous bins.

  The paper gives no initialisation. With independent rows the network has to learn the order of
  1,024 numbers from data. As waves of 1/2 to 128 periods, neighbouring bins start alike in the
  input and, the table being tied, in the logits.
  """

  def initialize(
    key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype = jnp.float32
  ) -> jax.Array:
    width, bins = config.width, vocabulary.CONTINUOUS_BINS

    phases = jax.random.uniform(jax.random.fold_in(key, 1), (width,), maxval=2 * np.pi)
    periods = np.geomspace(0.5, 128.0, width)
    centres = (np.arange(bins) + 0.5) / bins
    waves = jnp.cos(2 * np.pi * centres[:, None] * periods + phases)
    # The mean square of a cosine is 1/2, so this gives rows of norm 1 too.
    waves = jnp.sqrt(2 / width) * waves

    table = table_initializer(config)(key, shape, dtype)
    start = vocabulary.row_of(vocabulary.CONTINUOUS_OFFSET, config.table_rows)
    return table.at[start : start + bins].set(waves.astype(dtype))

  return initialize


class _Convolution3x3(nn.Module):
  """3 x 3 convolution with zero padding on a flattened 2 x 2 map [.., 4C].

  It is computed as one product with a matrix [4C, 4C]. Only 16 of the 36 taps lie inside the map,
  so this takes fewer operations than the convolution, and is far faster on CPUs.
  """

  channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    channels = self.channels
    flat = _MAP_CELLS * channels

    kernel = parameter(
      self,
      "kernel",
      initializer=nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
      axes=("patch",) * 4,
      shape=(3, 3, channels, channels),
    )
    bias = parameter(
      self, "bias", initializer=nn.initializers.zeros, axes=("patch",), shape=(channels,)
    )

    # Input cell i reaches output cell o through tap 1 + i - o of the kernel, in each dimension.
    tap = 1 + np.arange(_MAP_SIDE)[:, None] - np.arange(_MAP_SIDE)[None, :]
    # Indexed by [row in, column in, row out, column out], each a [C, C] matrix.
    dense = kernel[tap[:, None, :, None], tap[None, :, None, :]]
    dense = dense.transpose(0, 1, 4, 2, 3, 5).reshape(flat, flat)

    return x @ dense.astype(x.dtype) + jnp.tile(bias, _MAP_CELLS).astype(x.dtype)


class _GroupNorm(nn.Module):
  """Group norm of a flattened 2 x 2 map [.., 4C]; statistics in float32."""

  channels: int

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    channels = (self.channels,)
    scale = parameter(
      self, "scale", initializer=nn.initializers.ones, axes=("patch",), shape=channels
    )
    bias = parameter(
      self, "bias", initializer=nn.initializers.zeros, axes=("patch",), shape=channels
    )

    # A group's statistics are over the map's cells and the channels of the group. As products with
    # a matrix of zeros and ones, they are far faster on CPUs than sums over two axes.
    group_C = np.arange(self.channels) // (self.channels // _GROUPS)
    group = np.tile(group_C, _MAP_CELLS)
    members = (group[:, None] == np.arange(_GROUPS)).astype(np.float32)

    def group_mean(values: jax.Array) -> jax.Array:
      sums = jnp.matmul(values, members, precision=jax.lax.Precision.HIGHEST)
      return (sums * (_GROUPS / len(group)))[..., group]

    centred = x.astype(jnp.float32)
    centred -= group_mean(centred)
    normal = centred * jax.lax.rsqrt(group_mean(jnp.square(centred)) + 1e-6)

    return (normal * jnp.tile(scale, _MAP_CELLS) + jnp.tile(bias, _MAP_CELLS)).astype(x.dtype)


class PatchEmbedder(nn.Module):
  """Embeds uint8 patches [B, P, 16, 16, 3] as [B, P, D].

  A root convolution is followed by one pre-activation (v2) ResNet block. The map is flattened, not
  pooled, so that positions inside a patch are kept (a ball in Pong is 2 pixels).
  """

  config: GatoConfig

  @nn.compact
  def __call__(self, patches: jax.Array) -> jax.Array:
    config, channels = self.config, self.config.patch_channels
    dtype = jnp.dtype(config.dtype)
    fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")
    batch_shape = patches.shape[:2]

    # To [-1, 1], divided by the square root of the side (Reed et al. 2022, section 2.1).
    pixels = (patches.astype(jnp.float32) / 127.5 - 1.0) / np.sqrt(vocabulary.PATCH_SIDE)

    # An 8 x 8 convolution of stride 8 is a product of each 8 x 8 x 3 block with one matrix.
    block_size = _ROOT_SIDE**2 * 3
    blocks = pixels.reshape(*batch_shape, _MAP_SIDE, _ROOT_SIDE, _MAP_SIDE, _ROOT_SIDE, 3)
    blocks = blocks.swapaxes(3, 4).reshape(*batch_shape, _MAP_CELLS, block_size).astype(dtype)

    root_kernel = parameter(
      self,
      "root_kernel",
      initializer=fan_in,
      axes=("patch", "patch"),
      shape=(block_size, channels),
    )
    root_bias = parameter(
      self, "root_bias", initializer=nn.initializers.zeros, axes=("patch",), shape=(channels,)
    )
    x = blocks @ root_kernel.astype(dtype) + root_bias.astype(dtype)
    x = x.reshape(*batch_shape, _MAP_CELLS * channels)

    h = nn.gelu(_GroupNorm(channels, name="norm_1")(x))
    h = _Convolution3x3(channels, name="conv_1")(h)
    h = nn.gelu(_GroupNorm(channels, name="norm_2")(h))
    x = x + _Convolution3x3(channels, name="conv_2")(h)

    out_kernel = parameter(
      self,
      "out_kernel",
      initializer=fan_in,
      axes=("patch", "embed"),
      shape=(_MAP_CELLS * channels, config.width),
      dtype=config.dtype,
    )
    return x @ out_kernel.astype(dtype)


class Embedding(nn.Module):
  """Input vector of a position: the sum of its token or patch and of its positions.

  The token table is the output projection too.
  """

  config: GatoConfig

  def setup(self):
    config = self.config

    def table(
      name: str, initializer: nn.initializers.Initializer, axis: str, rows: int
    ) -> jax.Array:
      return parameter(
        self,
        name,
        initializer=initializer,
        axes=(axis, "embed"),
        shape=(rows, config.width),
        dtype=config.dtype,
      )

    def position_table(name: str, rows: int) -> jax.Array:
      return table(name, table_initializer(config), axis="positions", rows=rows)

    self.tokens = table("tokens", token_initializer(config), axis="vocab", rows=config.table_rows)
    self.local_positions = position_table("local_positions", config.max_local_positions)
    self.action_position = position_table("action_position", 1)
    self.row_positions = position_table("row_positions", vocabulary.PATCH_INTERVALS)
    self.column_positions = position_table("column_positions", vocabulary.PATCH_INTERVALS)
    self.patch_embedder = PatchEmbedder(config)

  def __call__(self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None) -> jax.Array:
    """Embeds a batch (docs/batch.md) as input vectors [B, L, D].

    Args:
      batch: Segments and targets are not read.
      rows: Int32 [B], numbers of the rows in the global batch, in training; None: patch positions
        are not drawn but averaged.
    """
    config = self.config
    kinds, local = batch["kinds"], batch["locals"]
    is_patch = kinds == vocabulary.Kind.PATCH
    is_action = kinds == vocabulary.Kind.ACTION
    has_token = ~is_patch & (kinds != vocabulary.Kind.PADDING)

    # Table rows have norm 1; this gives every component of an input vector a variance of about 1.
    scale = np.sqrt(config.width).astype(np.float32)

    def take(table: jax.Array, index: jax.Array, where: jax.Array) -> jax.Array:
      return jnp.where(where[..., None], table[index], 0.0)

    table_row_BxL = vocabulary.row_of(batch["tokens"], config.table_rows)
    x_BxLxD = take(self.tokens, table_row_BxL, where=has_token)
    x_BxLxD += take(self.local_positions, local, where=local >= 0)
    x_BxLxD += jnp.where(is_action[..., None], self.action_position[0], 0.0)
    x_BxLxD = (x_BxLxD * scale).astype(config.dtype)

    # Batches without images have no room for patches; then nothing of the embedder is compiled.
    if batch["patches"].shape[1]:
      patches_BxPxD = self.patch_embedder(batch["patches"])
      positions_BxPxD = self._patch_positions(batch["patch_positions"], rows)
      patches_BxPxD += (positions_BxPxD * scale).astype(config.dtype)

      # patch_slots says which of the row's patches a position shows.
      patch_BxLxD = jnp.take_along_axis(patches_BxPxD, batch["patch_slots"][..., None], axis=1)
      x_BxLxD += jnp.where(is_patch[..., None], patch_BxLxD, 0.0)

    return x_BxLxD

  def _patch_positions(self, intervals: jax.Array, rows: jax.Array | None) -> jax.Array:
    """Embeds the row and column intervals of patches.

    Training draws an index uniformly from [low, high); otherwise it is floor((low + high) / 2),
    which lies inside.

    Args:
      intervals: Int32 [B, P, 4], row low, row high, column low, column high; high is exclusive.
      rows: Int32 [B], numbers of the rows in the global batch; None outside training.

    Returns:
      [B, P, D], the sum of the two embeddings.
    """
    low, high = intervals[..., 0::2], intervals[..., 1::2]

    if rows is None:
      index = (low + high) // 2
    else:
      # A key a row, so that draws do not depend on how the batch is spread over devices.
      keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("train"), rows)
      uniform = jax.vmap(lambda key: jax.random.uniform(key, low.shape[1:]))(keys)
      index = low + jnp.floor(uniform * (high - low)).astype(jnp.int32)

    return self.row_positions[index[..., 0]] + self.column_positions[index[..., 1]]

  def logits(self, hidden: jax.Array, rows: jax.Array | slice | None = None) -> jax.Array:
    """Computes logits of the next token from hidden states [.., D].

    Args:
      hidden: Hidden states.
      rows: Rows of the token table to compute logits of (`vocabulary.row_of`); None: all.

    Returns:
      Float32 [.., number of rows].
    """
    table = self.tokens if rows is None else self.tokens[rows]
    dtype = jnp.dtype(self.config.dtype)

    return jnp.einsum(
      "...d,vd->...v", hidden.astype(dtype), table.astype(dtype), preferred_element_type=jnp.float32
    )
