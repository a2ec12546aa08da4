"""The network over whole windows, for training.

Acting runs the same blocks against a KV cache (cache.py).

hidden = model.apply({"params": params}, batch, rows, rngs={"train": key})
logits = model.apply({"params": params}, hidden_at_targets, method="logits")

Legend of shapes: B rows, L positions, D width.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model.attention import WindowMask, distance_table
from gato_jax.model.config import GatoConfig
from gato_jax.model.embedding import Embedding
from gato_jax.model.transformer import Decoder
from gato_jax.tokens import vocabulary


class Gato(nn.Module):
  """Decoder-only transformer over tokens and image patches (Reed et al. 2022, section 2)."""

  config: GatoConfig

  def setup(self):
    self.embedding = Embedding(self.config)
    self.decoder = Decoder(self.config)

  def __call__(self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None) -> jax.Array:
    """Computes the hidden states [B, L, D] of a batch, after the final norm.

    Args:
      batch: A batch (docs/batch.md).
      rows: Int32 [B], numbers of the rows in the global batch, in training; needs
        rngs={"train": key}.
    """
    x_BxLxD = self.embed(batch, rows)
    return self.decode(x_BxLxD, batch["segments"], kinds=batch["kinds"], rows=rows)

  def hidden_and_table(
    self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """Returns hidden states [B, L, D] and the output projection [33,025, D], for the loss."""
    return self(batch, rows), self.embedding.tokens

  def embed(self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None) -> jax.Array:
    """Computes the input vectors [B, L, D] of a batch."""
    return self.embedding(batch, rows)

  def decode(
    self, x: jax.Array, segments: jax.Array, kinds: jax.Array, rows: jax.Array | None = None
  ) -> jax.Array:
    """Computes hidden states from input vectors, both [B, L, D].

    Args:
      x: Input vectors.
      segments: Int32 [B, L]; positions attend to their own segment only.
      kinds: Int32 [B, L], `vocabulary.Kind` of each position.
      rows: As in `__call__`.
    """
    length = x.shape[1]
    itself = np.eye(length, dtype=bool)
    same_segment_BxLxL = segments[:, :, None] == segments[:, None, :]

    mask = WindowMask(
      visible=_causal_mask(kinds) & (same_segment_BxLxL | itself),
      distances=distance_table(length - 1, self.config.width),
    )
    return self.decoder(x, mask, rows)

  def logits(self, hidden: jax.Array, ids: jax.Array | slice | None = None) -> jax.Array:
    """Computes logits of the next token from hidden states [.., D], as `Embedding.logits`."""
    return self.embedding.logits(hidden, ids)


def _causal_mask(kinds: jax.Array) -> jax.Array:
  """Returns the causal mask bool [B, L, L] without padding.

  Every query sees itself, padding too, so that no softmax is empty.
  """
  length = kinds.shape[1]
  causal_LxL = np.tril(np.ones((length, length), bool))
  is_real_BxL = kinds != vocabulary.Kind.PADDING

  return (causal_LxL & is_real_BxL[:, None, :]) | np.eye(length, dtype=bool)


def init_boxed(config: GatoConfig, key: jax.Array) -> Any:
  """Returns fresh parameters boxed with their logical axes."""
  # The smallest batch that runs every module; the tree does not depend on it.
  ones = jnp.ones((1, 2), jnp.int32)
  batch = {
    "tokens": ones,
    "kinds": ones,
    "locals": ones,
    "segments": ones,
    "patches": jnp.zeros((1, 1, vocabulary.PATCH_SIDE, vocabulary.PATCH_SIDE, 3), jnp.uint8),
    "patch_positions": jnp.zeros((1, 1, 4), jnp.int32),
    "patch_slots": jnp.zeros((1, 2), jnp.int32),
  }
  return Gato(config).init(key, batch)["params"]


def init_params(config: GatoConfig, key: jax.Array) -> Any:
  """Returns fresh parameters: a nested dict of float32 arrays."""
  return nn.unbox(init_boxed(config, key))


def abstract_params(config: GatoConfig) -> Any:
  """Returns shapes and dtypes of the parameters; nothing is computed."""
  return jax.eval_shape(lambda: init_params(config, jax.random.key(0)))


def count_parameters(params: Any) -> int:
  """Returns the number of parameters of a tree of arrays or abstract arrays."""
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
