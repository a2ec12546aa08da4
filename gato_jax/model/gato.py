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

from gato_jax.model import visibility
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
    prompts = batch["prompts"] if self.config.past_actions == "hidden" else None
    codes = visibility.window_codes(batch["kinds"], batch["segments"], prompts)

    # A fused attention does without `visible`, which is then never computed.
    mask = WindowMask(
      visible=visibility.window_mask(codes),
      distances=distance_table(x.shape[1] - 1, self.config.width),
      codes=codes,
    )
    return self.decoder(x, mask, rows)

  def logits(self, hidden: jax.Array, rows: jax.Array | slice | None = None) -> jax.Array:
    """Computes logits of the next token from hidden states [.., D], as `Embedding.logits`."""
    return self.embedding.logits(hidden, rows)


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
