"""The network one step at a time, against a Transformer-XL memory: what `Gato` computes on windows (Dai et al. 2019).

A step reads the memory, keeps its own keys and values apart, and writes them into the memory once, at its end. So the
memory is read in place and donated, and history is never computed again.

Legend: S slots (environments), B of them in this step, H heads, N memory slots, K key size, M positions of this step,
T positions read together, d width.
"""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model import removal, transformer
from gato_jax.model.config import GatoConfig
from gato_jax.model.embedding import Embedding


@flax.struct.dataclass
class ActingParams:
  """Parameters as acting reads them: in the compute dtype, a tree for each layer, so that nothing is cut or cast.

  Attributes:
    embedding, final_norm: trees of those modules. layers: of each block, as `_matrices` lays it out.
    relative_keys: [H, N + 1, K] a layer, the keys of the distances N .. 0: they depend on the parameters only.
    removed: of each layer, what is taken out of the states that its block returns, or None; empty: nothing anywhere.
  """

  embedding: Any
  layers: tuple[Any, ...]
  relative_keys: tuple[jax.Array, ...]
  final_norm: Any
  removed: tuple[removal.Removal | None, ...] = ()


@flax.struct.dataclass
class Memory:
  """Keys and values of each row's last N positions, a ring with its own place to write for every row.

  Attributes:
    keys, values: [S, H, N, K] a layer, in the model's dtype.
    valid: bool [S, N]; False where nothing, or padding, was written.
    head: int32 [S], the slot of the next position; nothing counts up, so wraps never end.
  """

  keys: tuple[jax.Array, ...]
  values: tuple[jax.Array, ...]
  valid: jax.Array
  head: jax.Array


@flax.struct.dataclass
class Present:
  """This step's positions.

  Attributes:
    own: keys and values [B, H, M, K] a layer.
    place: int32 [B, M], how many positions after the memory's newest one, from 0.
    written: bool [B, M], part of the row's sequence. attended: bool [B, M], and not padding.
  """

  own: tuple[tuple[jax.Array, jax.Array], ...]
  place: jax.Array
  written: jax.Array
  attended: jax.Array


def acting_params(config: GatoConfig, params: Any) -> ActingParams:
  """Training's parameters (stacked layers, float32) as acting reads them."""
  distances = transformer.distance_table(config.memory_length, config.width)[:-1]

  def cast(path: Any, leaf: jax.Array) -> jax.Array:
    in_norm = any("norm" in str(getattr(entry, "key", "")) for entry in path)  # norms compute in float32
    return leaf if in_norm else leaf.astype(config.dtype)

  @jax.jit
  def convert(params: Any) -> ActingParams:
    params = jax.tree_util.tree_map_with_path(cast, params)
    stacked = params["decoder"]["layers"]
    layers = tuple(jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(config.layers))
    block = transformer.Block(config)
    keys = tuple(block.apply({"params": layer}, distances, method="relative_keys") for layer in layers)
    return ActingParams(params["embedding"], tuple(map(_matrices, layers)), keys, params["decoder"]["final_norm"])

  return convert(params)


def _matrices(layer: Any) -> Any:
  """A block's weights as the matrices [inputs, outputs] of its products (see `transformer._times`)."""
  attention, feed_forward = layer["attention"], layer["feed_forward"]
  qkv, out, wide = attention["qkv"], attention["out"], feed_forward["in"]
  flat = {"qkv": qkv.reshape(len(qkv), -1), "out": out.reshape(-1, out.shape[-1])}
  kept = {name: attention[name] for name in ("content_bias", "distance_bias")}
  return {**layer, "attention": flat | kept, "feed_forward": {**feed_forward, "in": wide.reshape(len(wide), -1)}}


def _block_params(config: GatoConfig, layer: Any) -> Any:
  """The inverse of `_matrices`, for `transformer.Block`: the shapes are given back where they are used."""
  d, heads, size = config.width, config.heads, config.key_size
  attention, feed_forward = layer["attention"], layer["feed_forward"]
  shaped = {
    "qkv": attention["qkv"].reshape(d, 3, heads, size),
    "out": attention["out"].reshape(heads, size, d),
    "distance": jnp.zeros((d, heads, size)),  # only relative_keys reads it
  }
  wide = feed_forward["in"].reshape(d, 2, config.feed_forward // 2)
  return {**layer, "attention": attention | shaped, "feed_forward": {**feed_forward, "in": wide}}


def init_memory(config: GatoConfig, slots: int) -> Memory:
  """An empty memory of config.memory_length positions for each of `slots` rows."""
  length = config.memory_length
  shape = (slots, config.heads, length, config.key_size)

  def ring() -> tuple[jax.Array, ...]:
    return tuple(jnp.zeros(shape, config.dtype) for _ in range(config.layers))

  return Memory(ring(), ring(), jnp.zeros((slots, length), bool), jnp.zeros(slots, jnp.int32))


def view(memory: Memory, rows: jax.Array | None, fresh: jax.Array) -> Memory:
  """The memory of `rows` (int32 [B]; None: of all slots, in place), empty where `fresh` (bool [B])."""
  if rows is not None:
    memory = jax.tree.map(lambda leaf: leaf.at[rows].get(mode="clip"), memory)
  return memory.replace(valid=memory.valid & ~fresh[:, None], head=jnp.where(fresh, 0, memory.head))


def begin(config: GatoConfig, rows: int, positions: int) -> Present:
  """A step of `positions` positions in which nothing has been read yet."""
  buffer = jnp.zeros((rows, config.heads, positions, config.key_size), config.dtype)
  no = jnp.zeros((rows, positions), bool)
  return Present(((buffer, buffer),) * config.layers, jnp.zeros((rows, positions), jnp.int32), no, no)


def embed(config: GatoConfig, params: ActingParams, chunk: Mapping[str, jax.Array]) -> jax.Array:
  """A chunk (a batch's keys but segments, targets and components) -> input vectors [B, T, d]."""
  return Embedding(config).apply({"params": params.embedding}, chunk)


def read(
  config: GatoConfig,
  params: ActingParams,
  past: Memory,
  present: Present,
  x: jax.Array,
  at: int | jax.Array,
  place: jax.Array,
  written: jax.Array,
  attended: jax.Array,
) -> tuple[jax.Array, Present]:
  """Reads the positions at .. at + T - 1 of this step: input vectors [B, T, d] -> hidden states [B, T, d].

  A query sees itself and what was attended to at most N positions before it. place, written, attended: [B, T], as in
  `Present`.
  """
  slots, length = past.valid.shape[1], x.shape[1]

  def put(old: jax.Array, new: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(old, new, at, axis=1)

  present = present.replace(
    place=put(present.place, place),
    written=put(present.written, written),
    attended=put(present.attended, attended),
  )
  age = (past.head[:, None] - 1 - np.arange(slots)) % slots  # of a slot's position, counted from the newest
  to_memory = age[:, None, :] + 1 + place[:, :, None]
  to_own = place[:, :, None] - present.place[:, None, :]
  itself = jnp.arange(present.place.shape[1]) == at + jnp.arange(length)[:, None]
  distance = jnp.concatenate([to_memory, to_own], axis=-1)
  seen = jnp.concatenate(
    [past.valid[:, None, :] & (to_memory <= slots), itself | (present.attended[:, None, :] & (to_own >= 0))], axis=-1
  )
  recall = transformer.Recall(seen, jnp.clip(slots - distance, 0, slots))
  block, own = transformer.Block(config), []
  removed = params.removed or (None,) * config.layers
  for layer, keys, values, relative_keys, old, directions in zip(
    params.layers, past.keys, past.values, params.relative_keys, present.own, removed, strict=True
  ):
    remembered = transformer.LayerMemory(keys, values, relative_keys)
    x, new = block.apply({"params": _block_params(config, layer)}, x, remembered, old, at, recall, method="recall")
    x = directions.take_out(x) if directions else x  # decided as it is traced: nothing is compiled for None
    own.append(new)
  hidden = transformer.LayerNorm().apply({"params": params.final_norm}, x)
  return hidden, present.replace(own=tuple(own))


def commit(memory: Memory, rows: jax.Array, past: Memory, present: Present) -> Memory:
  """Writes what this step read into `rows` (int32 [B]) of the memory; `past` is its view. Rows from S on are dropped.

  At most N positions of a row may have been written.
  """
  slots = past.valid.shape[1]
  slot = jnp.where(present.written, (past.head[:, None] + present.place) % slots, slots)  # [B, M]; N is dropped

  def write(rings: tuple[jax.Array, ...], which: int) -> tuple[jax.Array, ...]:
    # Head by head: with a window over heads TPUs would turn the whole ring round, twice.
    index = rows[:, None, None], np.arange(rings[0].shape[1])[:, None], slot[:, None]
    return tuple(ring.at[index].set(own[which], mode="drop") for ring, own in zip(rings, present.own, strict=True))

  own_rows = np.arange(len(past.head))[:, None]
  valid = past.valid.at[own_rows, slot].set(present.attended, mode="drop")
  head = (past.head + present.written.sum(1, dtype=jnp.int32)) % slots
  return Memory(
    write(memory.keys, 0),
    write(memory.values, 1),
    memory.valid.at[rows].set(valid, mode="drop"),
    memory.head.at[rows].set(head, mode="drop"),
  )
