"""Input vectors of a batch (Reed et al. 2022, section 2.2 and appendices C.2 and C.3).

Legend of shapes:
  B: rows
  L: positions
  P: image patches of a row
  D: width
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model.config import GatoConfig
from gato_jax.model.parameters import parameter
from gato_jax.model.patch_embedder import PatchEmbedder
from gato_jax.tokens import vocabulary


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
      patches_BxPxD = self.patch_embedder(batch["patches"], is_patch.sum(axis=1))
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
