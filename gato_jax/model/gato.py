"""The network, for training (whole windows) and for acting (chunks against a Transformer-XL memory).

hidden = model.apply({"params": params}, batch, rows, rngs={"train": key})
logits = model.apply({"params": params}, hidden_at_targets, method="logits")
hidden, memory = model.apply({"params": params}, chunk, memory, method="extend")
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model import transformer
from gato_jax.model.config import GatoConfig
from gato_jax.model.embedding import Embedding
from gato_jax.tokens import vocabulary


@flax.struct.dataclass
class Memory:
  """Keys and values of each row's last N positions, a ring with its own write index for every row.

  Attributes:
    keys, values: [layers, B, H, N, K] in the model's dtype.
    valid: bool [B, N]; False where nothing, or padding, was written.
    count: int32 [B], positions written since the row's reset; position p lies in slot p mod N.
  """

  keys: jax.Array
  values: jax.Array
  valid: jax.Array
  count: jax.Array


def init_memory(config: GatoConfig, batch_size: int, length: int | None = None) -> Memory:
  """An empty memory of `length` positions (config.memory_length by default) for `batch_size` rows."""
  length = length or config.memory_length
  shape = (config.layers, batch_size, config.heads, length, config.key_size)
  return Memory(
    keys=jnp.zeros(shape, config.dtype),
    values=jnp.zeros(shape, config.dtype),
    valid=jnp.zeros((batch_size, length), bool),
    count=jnp.zeros(batch_size, jnp.int32),
  )


def reset_memory(memory: Memory, rows: jax.Array) -> Memory:
  """Empties the rows (bool [B]) in which a new episode begins."""
  return memory.replace(valid=memory.valid & ~rows[:, None], count=jnp.where(rows, 0, memory.count))


def select_rows(rows: jax.Array, new: Memory, old: Memory) -> Memory:
  """`new` where rows (bool [B]), else `old`: extends some environments while the others wait."""
  return Memory(
    keys=jnp.where(rows[:, None, None, None], new.keys, old.keys),
    values=jnp.where(rows[:, None, None, None], new.values, old.values),
    valid=jnp.where(rows[:, None], new.valid, old.valid),
    count=jnp.where(rows, new.count, old.count),
  )


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

  def hidden_and_table(self, batch: Mapping[str, jax.Array], rows: jax.Array) -> tuple[jax.Array, jax.Array]:
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
    hidden, _ = self.decoder(x, attendance, rows=rows)
    return hidden

  def logits(self, hidden: jax.Array, ids: jax.Array | slice | None = None) -> jax.Array:
    """Hidden states [.., d] -> float32 logits of the next token [.., 33,025], or of the token ids given only."""
    return self.embedding.logits(hidden, ids)

  def extend(self, chunk: Mapping[str, jax.Array], memory: Memory) -> tuple[jax.Array, Memory]:
    """Reads T more positions of every row: [B, T, d] and the memory that holds them.

    A query attends to its own position and to at most the N before it, N the memory's length, so the result does not
    depend on how a sequence is cut into chunks (of at most N positions). Padding counts as distance and is not
    attended to. `chunk` has a batch's keys except segments, targets and components.
    """
    kinds = chunk["kinds"]
    length, slots = kinds.shape[1], memory.valid.shape[1]
    if length > slots:
      raise ValueError(f"a chunk of {length} positions does not fit into a memory of {slots}: extend in pieces")
    steps = np.arange(length)
    # Slot s of a row holds the position `age` before the newest one; a query at step t is age + 1 + t after it.
    age = (memory.count[:, None] - 1 - np.arange(slots)) % slots
    distance = age[:, None, :] + 1 + steps[:, None]
    largest = slots + length - 1
    attendance = transformer.Attendance(
      own=_causal(kinds),
      distances=transformer.distance_table(largest, self.config.width),
      memory=memory.valid[:, None, :] & (distance <= slots),
      memory_index=largest - distance,
    )
    hidden, (keys, values) = self.decoder(self.embedding(chunk), attendance, (memory.keys, memory.values))
    rows = np.arange(kinds.shape[0])[:, None]
    written = (memory.count[:, None] + steps) % slots  # [B, T]

    def write(ring: jax.Array, new: jax.Array) -> jax.Array:
      return ring.at[:, rows, :, written].set(new.transpose(1, 3, 0, 2, 4))  # indexed: [B, T, layers, H, K]

    return hidden, Memory(
      keys=write(memory.keys, keys),
      values=write(memory.values, values),
      valid=memory.valid.at[rows, written].set(kinds != vocabulary.Kind.PADDING),
      count=memory.count + length,
    )


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
