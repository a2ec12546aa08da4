"""The network over whole windows, for training.

Acting runs the same blocks against a KV cache (cache.py).

hidden = model.apply({"params": params}, batch, rows, rngs={"train": key})
logits = model.apply({"params": params}, hidden_at_targets, method="logits")

Legend of shapes: B rows, L positions, D width.
"""

import functools
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
    return self.decode(self.embed(batch, rows), batch, rows)

  def hidden_and_table(
    self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """Returns hidden states [B, L, D] and the output projection [rows, D], for the loss."""
    return self(batch, rows), self.embedding.tokens

  def embed(self, batch: Mapping[str, jax.Array], rows: jax.Array | None = None) -> jax.Array:
    """Computes the input vectors [B, L, D] of a batch."""
    return self.embedding(batch, rows)

  def decode(
    self, x: jax.Array, batch: Mapping[str, jax.Array], rows: jax.Array | None = None
  ) -> jax.Array:
    """Computes hidden states from input vectors, both [B, L, D].

    Args:
      x: Input vectors.
      batch: The batch that they embed; its segments and kinds, and its prompts where past actions
        are hidden, say which positions attend to which.
      rows: As in `__call__`.
    """
    length = x.shape[1]
    segments = batch["segments"]
    itself = np.eye(length, dtype=bool)
    same_segment_BxLxL = segments[:, :, None] == segments[:, None, :]

    visible_BxLxL = _causal_mask(batch["kinds"]) & (same_segment_BxLxL | itself)
    if self.config.past_actions == "hidden":
      visible_BxLxL &= ~_is_past_action(batch["kinds"], batch["prompts"])

    mask = WindowMask(visible_BxLxL, distances=distance_table(length - 1, self.config.width))
    return self.decoder(x, mask, rows)

  def logits(self, hidden: jax.Array, rows: jax.Array | slice | None = None) -> jax.Array:
    """Computes logits of the next token from hidden states [.., D], as `Embedding.logits`."""
    return self.embedding.logits(hidden, rows)


def _causal_mask(kinds: jax.Array) -> jax.Array:
  """Returns the causal mask bool [B, L, L] without padding.

  Every query sees itself, padding too, so that no softmax is empty.
  """
  length = kinds.shape[1]
  causal_LxL = np.tril(np.ones((length, length), bool))
  is_real_BxL = kinds != vocabulary.Kind.PADDING

  return (causal_LxL & is_real_BxL[:, None, :]) | np.eye(length, dtype=bool)


def _is_past_action(kinds: jax.Array, prompts: jax.Array) -> jax.Array:
  """Returns bool [B, L, L], True where the key is an action of an earlier step than the query's.

  The actions of a prompt are not among them: they are what a prompt is there to show.

  Args:
    kinds: Int32 [B, L], `vocabulary.Kind` of each position.
    prompts: Bool [B, L], True at the positions of a prompt.
  """
  is_action_BxL = kinds == vocabulary.Kind.ACTION

  # A step ends with its actions, so the next one begins where an action is followed by anything
  # else.
  begins_step_BxL = is_action_BxL[:, :-1] & ~is_action_BxL[:, 1:]
  step_BxL = jnp.pad(jnp.cumsum(begins_step_BxL, axis=1), ((0, 0), (1, 0)))

  is_hidden_key_BxL = is_action_BxL & ~prompts
  return is_hidden_key_BxL[:, None, :] & (step_BxL[:, :, None] != step_BxL[:, None, :])


def init_boxed(config: GatoConfig, key: jax.Array) -> Any:
  """Returns fresh parameters boxed with their logical axes."""
  # The smallest batch that runs every module; the tree does not depend on it.
  ones = jnp.ones((1, 2), jnp.int32)
  batch = {
    "tokens": ones,
    "kinds": ones,
    "locals": ones,
    "segments": ones,
    "prompts": jnp.zeros((1, 2), bool),
    "patches": jnp.zeros((1, 1, vocabulary.PATCH_SIDE, vocabulary.PATCH_SIDE, 3), jnp.uint8),
    "patch_positions": jnp.zeros((1, 1, 4), jnp.int32),
    "patch_slots": jnp.zeros((1, 2), jnp.int32),
  }
  return Gato(config).init(key, batch)["params"]


# One program compiles faster than the operations of all modules one by one.
@functools.partial(jax.jit, static_argnums=0)
def init_params(config: GatoConfig, key: jax.Array) -> Any:
  """Returns fresh parameters: a nested dict of float32 arrays."""
  return nn.unbox(init_boxed(config, key))


def abstract_params(config: GatoConfig) -> Any:
  """Returns shapes and dtypes of the parameters; nothing is computed."""
  return jax.eval_shape(lambda: init_params(config, jax.random.key(0)))


def count_parameters(params: Any) -> int:
  """Returns the number of parameters of a tree of arrays or abstract arrays."""
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(params))
