"""The network over whole windows, for training. Acting runs the same blocks against a memory: acting.py.

hidden = model.apply({"params": params}, batch, rows, rngs={"train": key})
logits = model.apply({"params": params}, hidden_at_targets, method="logits")
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model import transformer
from gato_jax.model.config import GatoConfig
from gato_jax.model.embedding import Embedding
from gato_jax.tokens import vocabulary


class Gato(nn.Module):
  """Decoder-only transformer over tokens and image patches (Reed et al. 2022, section 2)."""

  config: GatoConfig

  def setup(self):
    self.embedding = Embedding(self.config)
    self.decoder = transformer.Decoder(self.config)

  def __call__(self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None) -> jax.Array:
    """A batch (docs/batch.md) -> final-norm hidden states [B, L, d].

    Args:
      rows: int32 [B], the rows' numbers in the global batch, in training; needs rngs={"train": key}.
    """
    return self.decode(self.embed(batch, rows), batch["segments"], batch["kinds"], rows)

  def hidden_and_table(
    self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """For the loss: hidden states [B, L, d] and the tied output projection [33,025, d]."""
    return self(batch, rows), self.embedding.tokens

  def embed(self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None) -> jax.Array:
    """Input vectors [B, L, d]."""
    return self.embedding(batch, rows)

  def decode(self, x: jax.Array, segments: jax.Array, kinds: jax.Array, rows: jax.Array | None = None) -> jax.Array:
    """Input vectors -> hidden states, both [B, L, d]."""
    length = x.shape[1]
    same = segments[:, :, None] == segments[:, None, :]
    attendance = transformer.Attendance(
      own=_causal(kinds) & (same | np.eye(length, dtype=bool)),
      distances=transformer.distance_table(length - 1, self.config.width),
    )
    return self.decoder(x, attendance, rows)

  def logits(self, hidden: jax.Array, ids: jax.Array | slice | None = None) -> jax.Array:
    """Hidden states [.., d] -> float32 logits of the next token [.., 33,025], or of the token ids given only."""
    return self.embedding.logits(hidden, ids)


def _causal(kinds: jax.Array) -> jax.Array:
  """[B, L] -> bool [B, L, L]: keys up to the query that are not padding; every query sees itself, so none is empty."""
  length = kinds.shape[1]
  causal = np.tril(np.ones((length, length), bool))
  return (causal & (kinds != vocabulary.Kind.PADDING)[:, None, :]) | np.eye(length, dtype=bool)


def init_boxed(config: GatoConfig, key: jax.Array) -> Any:
  """Parameters with their logical axes (boxed); the tree does not depend on any batch."""
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
  """Fresh parameters: a nested dict of float32 arrays."""
  return nn.unbox(init_boxed(config, key))


def abstract_params(config: GatoConfig) -> Any:
  """Shapes and dtypes of the parameters; nothing is computed."""
  return jax.eval_shape(lambda: init_params(config, jax.random.key(0)))


def count_parameters(params: Any) -> int:
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
