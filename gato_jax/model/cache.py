"""The network one acting step at a time, against a KV cache (Dai et al. 2019).

It computes what `Gato` computes on windows. The KV cache is the paper's Transformer-XL memory. A
step reads it, collects its own keys and values in a `StepCache`, and commits them to the KV cache
once, at its end. So the cache is read in place and donated, and earlier positions are never
computed again.

Legend of shapes:
  S: slots (environments) of the KV cache
  B: rows of this step, each a slot
  H: heads
  N: entries of a slot's KV cache, a ring of memory_length positions
  K: key size
  M: positions of this step
  T: positions that are read together
  D: width
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, cast

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model import parametrization, removal, transformer
from gato_jax.model.attention import CacheMask, LayerCache, distance_table
from gato_jax.model.config import GatoConfig
from gato_jax.model.embedding import Embedding


@flax.struct.dataclass
class ActingParams:
  """Parameters laid out for acting: in the compute dtype, one tree a layer, nothing to cut or cast.

  Attributes:
    embedding: Parameters of the `Embedding`.
    layers: Parameters of each block, as `_as_matrices` lays them out.
    relative_keys: [H, N + 1, K] a layer, keys of the distances N .. 0. They depend on the
      parameters only.
    final_norm: Parameters of the final norm.
    removed: Directions removed from the output of each block, None for a block that keeps all;
      empty when no block has any removed.
  """

  embedding: Any
  layers: tuple[Any, ...]
  relative_keys: tuple[jax.Array, ...]
  final_norm: Any
  removed: tuple[removal.Removal | None, ...] = ()


@flax.struct.dataclass
class KVCache:
  """Keys and values of the last N positions of each slot, in rings.

  Attributes:
    keys: [S, H, N, K] a layer, in the model's dtype.
    values: [S, H, N, K] a layer, in the model's dtype.
    valid: Bool [S, N], True where a position was written that later ones may attend to.
    prompt: Bool [S, N], True where the position is of a prompt.
    write_index: Int32 [S], the entry that the next position is written to. It stays below N, so
      episodes of any length cannot overflow it.
  """

  keys: tuple[jax.Array, ...]
  values: tuple[jax.Array, ...]
  valid: jax.Array
  prompt: jax.Array
  write_index: jax.Array


@flax.struct.dataclass
class StepCache:
  """Keys and values of the positions of this step.

  Attributes:
    keys: [B, H, M, K] a layer.
    values: [B, H, M, K] a layer.
    offset: Int32 [B, M], distance from the first position of the row's step, which is 0.
    written: Bool [B, M], True where the position is part of the row's sequence.
    valid: Bool [B, M], True where it is written and not padding, so that later ones attend to it.
  """

  keys: tuple[jax.Array, ...]
  values: tuple[jax.Array, ...]
  offset: jax.Array
  written: jax.Array
  valid: jax.Array


def acting_params(config: GatoConfig, params: Any) -> ActingParams:
  """Converts training's parameters (stacked layers, float32) for acting."""
  # Without the last row, distance -1, which only the relative shift of windows needs.
  distances = distance_table(config.memory_length, config.width)[:-1]

  def to_compute_dtype(path: Any, leaf: jax.Array) -> jax.Array:
    # Norms compute in float32, so their parameters keep it.
    is_norm = any("norm" in str(getattr(entry, "key", "")) for entry in path)
    return leaf if is_norm else leaf.astype(config.dtype)

  @jax.jit
  def convert(params: Any) -> ActingParams:
    params = jax.tree_util.tree_map_with_path(to_compute_dtype, params)
    stacked = params["decoder"]["layers"]
    layers = [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(config.layers)]

    block = transformer.Block(config)
    relative_keys = tuple(
      cast(jax.Array, block.apply({"params": layer}, distances, method="relative_keys"))
      for layer in layers
    )
    return ActingParams(
      embedding=params["embedding"],
      layers=tuple(_as_matrices(layer) for layer in layers),
      relative_keys=relative_keys,
      final_norm=params["decoder"]["final_norm"],
    )

  return convert(params)


def _as_matrices(layer: Any) -> Any:
  """Reshapes a block's weights to the matrices of its products (see `parameters.linear`)."""
  attention, feed_forward = layer["attention"], layer["feed_forward"]
  qkv, out = attention["qkv"], attention["out"]
  in_weight = feed_forward["in"]

  # "distance" is left out: its products with the distances are ActingParams.relative_keys.
  return {
    **layer,
    "attention": {
      "qkv": qkv.reshape(len(qkv), -1),
      "out": out.reshape(-1, out.shape[-1]),
      "content_bias": attention["content_bias"],
      "distance_bias": attention["distance_bias"],
    },
    "feed_forward": {**feed_forward, "in": in_weight.reshape(len(in_weight), -1)},
  }


def _as_block_params(config: GatoConfig, layer: Any) -> Any:
  """Returns the parameters of `transformer.Block` from those of `_as_matrices`, its inverse."""
  width, heads, key_size = config.width, config.heads, config.key_size
  attention, feed_forward = layer["attention"], layer["feed_forward"]

  shaped = {
    "qkv": attention["qkv"].reshape(width, 3, heads, key_size),
    "out": attention["out"].reshape(heads, key_size, width),
    # A stand-in: only relative_keys reads it, which acting never calls.
    "distance": jnp.zeros((width, heads, key_size)),
  }
  in_weight = feed_forward["in"].reshape(width, 2, config.feed_forward // 2)

  return {
    **layer,
    "attention": attention | shaped,
    "feed_forward": {**feed_forward, "in": in_weight},
  }


def init_cache(config: GatoConfig, slots: int) -> KVCache:
  """Returns an empty KV cache of config.memory_length entries for each of `slots` slots."""
  entries = config.memory_length
  shape = (slots, config.heads, entries, config.key_size)

  # Separate arrays, since a buffer cannot be donated twice.
  keys = tuple(jnp.zeros(shape, config.dtype) for _ in range(config.layers))
  values = tuple(jnp.zeros(shape, config.dtype) for _ in range(config.layers))

  # Separate arrays here, too.
  return KVCache(
    keys,
    values,
    valid=jnp.zeros((slots, entries), bool),
    prompt=jnp.zeros((slots, entries), bool),
    write_index=jnp.zeros(slots, jnp.int32),
  )


def view(kv_cache: KVCache, slots: jax.Array | None, fresh: jax.Array) -> KVCache:
  """Returns the KV cache of the rows of this step.

  Args:
    kv_cache: KV cache of all slots.
    slots: Int32 [B], the slot of each row; None: all slots in their order, which copies nothing.
      Slots from S on are padding rows and show that of the last one.
    fresh: Bool [B], True for a row that begins with an empty cache.
  """
  if slots is not None:
    kv_cache = jax.tree.map(lambda leaf: leaf.at[slots].get(mode="clip"), kv_cache)

  # Invalid entries are masked, so their keys and values need not be cleared.
  return dataclasses.replace(
    kv_cache,
    valid=kv_cache.valid & ~fresh[:, None],
    write_index=jnp.where(fresh, 0, kv_cache.write_index),
  )


def begin(config: GatoConfig, rows: int, positions: int) -> StepCache:
  """Returns the cache of a step of `positions` positions of which none has been read yet."""
  zeros = jnp.zeros((rows, config.heads, positions, config.key_size), config.dtype)
  none_BxM = jnp.zeros((rows, positions), bool)

  return StepCache(
    keys=(zeros,) * config.layers,
    values=(zeros,) * config.layers,
    offset=jnp.zeros((rows, positions), jnp.int32),
    written=none_BxM,
    valid=none_BxM,
  )


def embed(config: GatoConfig, params: ActingParams, chunk: Mapping[str, jax.Array]) -> jax.Array:
  """Embeds a chunk of T positions as input vectors [B, T, D].

  Args:
    config: Sizes of the network.
    params: Its parameters.
    chunk: A batch (docs/batch.md) without segments, targets and components.
  """
  return cast(jax.Array, Embedding(config).apply({"params": params.embedding}, chunk))


def read(
  config: GatoConfig,
  params: ActingParams,
  kv_cache: KVCache,
  step_cache: StepCache,
  x: jax.Array,
  start: int | jax.Array,
  offset: jax.Array | np.ndarray,
  written: jax.Array | np.ndarray,
  valid: jax.Array | np.ndarray,
  reach: jax.Array | None = None,
) -> tuple[jax.Array, StepCache]:
  """Reads the positions start .. start + T - 1 of this step.

  A position attends to itself and to the valid positions at most N before it.

  Args:
    config: Sizes of the network.
    params: Its parameters.
    kv_cache: KV cache of this step's rows, from `view`.
    step_cache: Earlier positions of this step.
    x: [B, T, D], input vectors.
    start: Index in the step of the first of them.
    offset: Int32 [B, T], as in `StepCache`.
    written: Bool [B, T], as in `StepCache`.
    valid: Bool [B, T], as in `StepCache`.
    reach: Int32 [B], entries of the KV cache that are visible, counted from the newest one; those
      of a prompt always are. None: all of them.

  Returns:
    Hidden states [B, T, D] after the final norm, and the step cache with these positions.
  """

  def put(old_BxM: jax.Array, new_BxT: jax.Array | np.ndarray) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(old_BxM, new_BxT, start, axis=1)

  step_cache = dataclasses.replace(
    step_cache,
    offset=put(step_cache.offset, offset),
    written=put(step_cache.written, written),
    valid=put(step_cache.valid, valid),
  )
  mask = _attention_mask(kv_cache, step_cache, start, offset, reach)

  block = transformer.Block(config)
  removed = params.removed or (None,) * config.layers
  all_step_keys: list[jax.Array] = []
  all_step_values: list[jax.Array] = []

  for i in range(config.layers):
    layer_cache = LayerCache(kv_cache.keys[i], kv_cache.values[i], params.relative_keys[i])
    outputs: Any = block.apply(
      {"params": _as_block_params(config, params.layers[i])},
      x,
      layer_cache,
      step_cache.keys[i],
      step_cache.values[i],
      start,
      mask,
      method="attend_to_cache",
    )
    x, (step_keys, step_values) = outputs
    all_step_keys.append(step_keys)
    all_step_values.append(step_values)

    # Decided while tracing, so that nothing is compiled for a layer that keeps its directions.
    directions = removed[i]
    if directions is not None:
      x = directions.take_out(x)

  hidden = transformer.LayerNorm().apply({"params": params.final_norm}, x)
  step_cache = dataclasses.replace(
    step_cache, keys=tuple(all_step_keys), values=tuple(all_step_values)
  )

  return cast(jax.Array, hidden) * parametrization.output_scale(config), step_cache


def _attention_mask(
  kv_cache: KVCache,
  step_cache: StepCache,
  start: int | jax.Array,
  offset_BxT: jax.Array | np.ndarray,
  reach_B: jax.Array | None,
) -> CacheMask:
  """Returns the mask of the positions start .. start + T - 1, which are in the step cache."""
  entries = kv_cache.valid.shape[1]
  length, step_length = offset_BxT.shape[1], step_cache.offset.shape[1]

  # The newest entry, just before write_index, has age 0; the ring makes older ones count on from
  # the other end. A query at offset 0 is one position after the newest entry.
  age_BxN = (kv_cache.write_index[:, None] - 1 - np.arange(entries)) % entries
  to_cache_BxTxN = age_BxN[:, None, :] + 1 + offset_BxT[:, :, None]
  to_step_BxTxM = offset_BxT[:, :, None] - step_cache.offset[:, None, :]

  # A position sees itself even where it is padding: a softmax needs at least one key.
  is_itself_TxM = jnp.arange(step_length) == start + jnp.arange(length)[:, None]
  is_visible_BxN = kv_cache.valid
  if reach_B is not None:
    is_visible_BxN &= kv_cache.prompt | (age_BxN < reach_B[:, None])
  sees_cache_BxTxN = is_visible_BxN[:, None, :] & (to_cache_BxTxN <= entries)
  sees_step_BxTxM = is_itself_TxM | (step_cache.valid[:, None, :] & (to_step_BxTxM >= 0))

  # Row i of the relative keys belongs to distance N - i. What lies out of range is masked, and
  # clipped only to keep the index legal.
  distance = jnp.concatenate([to_cache_BxTxN, to_step_BxTxM], axis=-1)
  return CacheMask(
    visible=jnp.concatenate([sees_cache_BxTxN, sees_step_BxTxM], axis=-1),
    distance_index=jnp.clip(entries - distance, 0, entries),
  )


def commit(
  kv_cache: KVCache,
  slots: jax.Array,
  row_cache: KVCache,
  step_cache: StepCache,
  is_prompt: bool = False,
) -> KVCache:
  """Writes the positions of this step into the KV cache.

  At most N positions of a row may have been written.

  Args:
    kv_cache: KV cache of all slots.
    slots: Int32 [B], the slot of each row; rows of slots from S on are dropped.
    row_cache: KV cache of this step's rows, from `view`.
    step_cache: Positions of this step.
    is_prompt: True where they are a prompt.
  """
  entries = row_cache.valid.shape[1]

  # Positions that are not written get the entry N, which does not exist: the writes below drop it.
  entry_BxM = (row_cache.write_index[:, None] + step_cache.offset) % entries
  entry_BxM = jnp.where(step_cache.written, entry_BxM, entries)

  def write(
    rings: tuple[jax.Array, ...], new_entries: tuple[jax.Array, ...]
  ) -> tuple[jax.Array, ...]:
    # Heads are an index too. With a window over heads TPUs would transpose the whole ring, twice.
    heads = np.arange(rings[0].shape[1])[:, None]
    index = slots[:, None, None], heads, entry_BxM[:, None]
    return tuple(
      ring.at[index].set(new, mode="drop") for ring, new in zip(rings, new_entries, strict=True)
    )

  row_index = np.arange(len(row_cache.write_index))[:, None]
  valid = row_cache.valid.at[row_index, entry_BxM].set(step_cache.valid, mode="drop")
  prompt = row_cache.prompt.at[row_index, entry_BxM].set(is_prompt, mode="drop")

  written_count = step_cache.written.sum(1, dtype=jnp.int32)
  write_index = (row_cache.write_index + written_count) % entries

  return KVCache(
    keys=write(kv_cache.keys, step_cache.keys),
    values=write(kv_cache.values, step_cache.values),
    valid=kv_cache.valid.at[slots].set(valid, mode="drop"),
    prompt=kv_cache.prompt.at[slots].set(prompt, mode="drop"),
    write_index=kv_cache.write_index.at[slots].set(write_index, mode="drop"),
  )
