"""One acting step as a compiled call: raw observations in, actions out, with the KV cache donated.

Legend of shapes:
  S: slots (environments) of the KV cache
  B: rows of the call, each a slot
  T: observation tokens and separator
  P: image patches
  A: action tokens
  C: columns of the output head
  D: width
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.agent.buckets import Bucket
from gato_jax.model import GatoConfig, cache
from gato_jax.tokens import codec, packing, vocabulary
from gato_jax.tokens.vocabulary import Kind

NONE_PENDING = -1


@flax.struct.dataclass
class ActingState:
  """State of every slot between steps.

  Attributes:
    kv_cache: Keys and values of all that was read.
    pending: Int32 [S], the last action token, which was sampled but not read yet; -1: none. The
      next step reads it with its observation, which saves a pass over the weights.
  """

  kv_cache: cache.KVCache
  pending: jax.Array


@flax.struct.dataclass
class StepRequest:
  """Rows that act in a call, int32 [B] each.

  Attributes:
    slots: Slot of the row; S and above: a padding row. All slots in their order where the call
      takes all of them.
    tasks: Index of the row's task in the bucket.
    fresh: 1 where an episode begins, or its KV cache is emptied.
    seeds: Seed of the episode's draws.
    steps: Steps of the episode so far. With the seed and the token's index it fixes a draw.
    reach: Positions before this step that it may attend to, a prompt's aside.
  """

  slots: jax.Array
  tasks: jax.Array
  fresh: jax.Array
  seeds: jax.Array
  steps: jax.Array
  reach: jax.Array


# One int32 array [6, B] is transferred to the device instead of five.
REQUEST_FIELDS = len(dataclasses.fields(StepRequest))


def init_state(config: GatoConfig, slots: int) -> ActingState:
  """Returns the state of `slots` slots that have read nothing."""
  return ActingState(cache.init_cache(config, slots), jnp.full(slots, NONE_PENDING, jnp.int32))


def head(params: cache.ActingParams, bucket: Bucket) -> jax.Array:
  """Returns the rows [C, D] of the output projection that a bucket's actions can take."""
  table = params.embedding["tokens"]
  first_rows = [vocabulary.row_of(span.start, len(table)) for span in bucket.columns]
  return jnp.concatenate(
    [table[row : row + len(span)] for row, span in zip(first_rows, bucket.columns, strict=True)]
  )


def act(
  config: GatoConfig,
  bucket: Bucket,
  all_slots: bool,
  *,
  params: cache.ActingParams,
  state: ActingState,
  tables: Mapping[str, jax.Array],
  head: jax.Array,
  temperature: jax.Array,
  request: jax.Array,
  values: jax.Array,
  ids: jax.Array,
  lines: jax.Array,
) -> tuple[ActingState, jax.Array]:
  """Reads one observation per row and samples its action.

  Args:
    config: Sizes of the network.
    bucket: Bucket of the rows' tasks.
    all_slots: True where the rows are all slots in their order; the KV cache is then read in place.
    params: Parameters of the network.
    state: State of all slots; donated.
    tables: `buckets.tables` of the bucket.
    head: `head` of the bucket.
    temperature: Float32 [], temperature of sampling; 0 takes the most likely token.
    request: Int32 [6, B], the fields of `StepRequest`.
    values: Float32 [B, T], of `buckets.pad_observations`, as the next two.
    ids: Int32 [B, T].
    lines: Uint8 [B, 16 P, 48].

  Returns:
    The new state, and actions float32 [B, A]: values of continuous actions, numbers of discrete
    ones.
  """
  rows = StepRequest(*request)
  is_used_B = rows.slots < len(state.pending)

  # Padding rows read an empty cache and write nowhere.
  is_fresh_B = (rows.fresh != 0) | ~is_used_B
  row_cache = cache.view(state.kv_cache, None if all_slots else rows.slots, is_fresh_B)
  pending_B = state.pending if all_slots else state.pending.at[rows.slots].get(mode="clip")
  pending_B = jnp.where(is_fresh_B, NONE_PENDING, pending_B)

  # Read the pending action token, the observation and the separator.
  row_tables = {name: table[rows.tasks] for name, table in tables.items() if name != "centres"}
  chunk = tokenise(row_tables, pending_B, values=values, ids=ids, lines=lines)
  end_B, action_count_B = row_tables["end"], row_tables["actions"]

  # A row without a pending token begins at index 1, which then has offset 0 in its sequence.
  first_Bx1 = jnp.where(pending_B >= 0, 0, 1)[:, None]
  index = np.arange(1 + bucket.tokens)
  written = is_used_B[:, None] & (index >= first_Bx1) & (index < end_B[:, None])

  # Unused text positions are written, since training has them too, but never attended to.
  valid = written & (chunk["kinds"] != Kind.PADDING)

  # The pending action, the first position, is of the step before. Later ones must not attend to it
  # where the network sees no past actions, or no past step at all.
  hides_actions = config.past_actions == "hidden"
  sees_pending_B = (rows.reach > 0) & (not hides_actions)
  valid &= (index > 0) | sees_pending_B[:, None]
  reach_B = rows.reach - (pending_B >= 0)

  hidden_BxTxD, step_cache = cache.read(
    config,
    params,
    kv_cache=row_cache,
    step_cache=cache.begin(config, rows=len(rows.slots), positions=bucket.positions),
    x=cache.embed(config, params, chunk),
    start=0,
    offset=index - first_Bx1,
    written=written,
    valid=valid,
    reach=reach_B,
  )
  # The separator, the last position before `end`, predicts the first action token.
  separator_Bx1x1 = (end_B - 1)[:, None, None]
  hidden_BxD = jnp.take_along_axis(hidden_BxTxD, separator_Bx1x1, axis=1)[:, 0]

  column_ids_C = jnp.concatenate([jnp.arange(span.start, span.stop) for span in bucket.columns])
  keys_B = jax.vmap(_draw_key)(rows.seeds, rows.steps)

  def sample(hidden_BxD: jax.Array, token_index: int | jax.Array) -> jax.Array:
    """Returns a legal column, int32 [B], of an action token."""
    logits_BxC = jnp.einsum("bd,cd->bc", hidden_BxD, head, preferred_element_type=jnp.float32)
    column = np.arange(logits_BxC.shape[1])
    low_Bx1, high_Bx1 = (
      jax.lax.dynamic_index_in_dim(row_tables[name], token_index, axis=1)
      for name in ("low", "high")
    )
    is_legal_BxC = (column >= low_Bx1) & (column <= high_Bx1)
    logits_BxC = jnp.where(is_legal_BxC, logits_BxC, -jnp.inf)

    # The largest logit with Gumbel noise is a sample, without noise it is the mode.
    noise_BxC = _gumbel_noise(bucket, keys_B, token_index)
    return jnp.argmax(logits_BxC + temperature * noise_BxC, axis=-1)

  def next_token(
    carry: tuple[cache.StepCache, jax.Array], token_index: jax.Array
  ) -> tuple[tuple[cache.StepCache, jax.Array], jax.Array]:
    """Reads the action token before `token_index` and samples this one."""
    step_cache, column_B = carry

    # The last action token of a row is not read here: it waits for the next step.
    written_Bx1 = (is_used_B & (token_index < action_count_B))[:, None]
    hidden_Bx1xD, step_cache = cache.read(
      config,
      params,
      kv_cache=row_cache,
      step_cache=step_cache,
      x=cache.embed(config, params, _action_chunk(column_ids_C[column_B][:, None])),
      # In the step's arrays action tokens follow the padded observation, in the row's sequence its
      # own separator.
      start=bucket.tokens + token_index,
      offset=(end_B[:, None] - first_Bx1) + token_index - 1,
      written=written_Bx1,
      valid=written_Bx1,
      reach=reach_B,
    )
    column_B = sample(hidden_Bx1xD[:, 0], token_index)
    return (step_cache, column_B), column_B

  # Tasks with fewer action tokens than the bucket sample some that nobody reads.
  first_column_B = sample(hidden_BxD, 0)
  (step_cache, _), later_columns = jax.lax.scan(
    next_token, (step_cache, first_column_B), jnp.arange(1, bucket.actions)
  )
  columns_BxA = jnp.concatenate([first_column_B[None], later_columns]).T
  action_ids_BxA = column_ids_C[columns_BxA]

  # Within the step, later action tokens attended to earlier ones; later steps must not.
  if hides_actions:
    is_observation = np.arange(bucket.positions) < bucket.tokens + 1
    step_cache = dataclasses.replace(step_cache, valid=step_cache.valid & is_observation)

  last_id_B = jnp.take_along_axis(action_ids_BxA, (action_count_B - 1)[:, None], axis=1)[:, 0]
  state = ActingState(
    kv_cache=cache.commit(state.kv_cache, rows.slots, row_cache=row_cache, step_cache=step_cache),
    pending=state.pending.at[rows.slots].set(last_id_B, mode="drop"),
  )

  # Bins are the first columns. A discrete row may have larger ones, whose value is discarded.
  bins_BxA = jnp.minimum(columns_BxA, vocabulary.CONTINUOUS_BINS - 1)
  continuous_BxA = tables["centres"][row_tables["bins"], bins_BxA]
  discrete_BxA = (action_ids_BxA - vocabulary.DISCRETE_OFFSET).astype(jnp.float32)
  actions_BxA = jnp.where(row_tables["continuous"][:, None], continuous_BxA, discrete_BxA)

  return state, actions_BxA


def _draw_key(seed: jax.Array, step: jax.Array) -> jax.Array:
  """Returns the random key of one episode's step."""
  return jax.random.fold_in(jax.random.fold_in(jax.random.key(0), seed), step)


def _gumbel_noise(bucket: Bucket, keys_B: jax.Array, token_index: int | jax.Array) -> jax.Array:
  """Returns Gumbel noise [B, C] of an action token.

  Bins and discrete ids both begin with the same noise, so that a column's noise does not depend on
  the other columns of the bucket. No action has legal columns of both.
  """
  noise = jax.vmap(
    lambda key: jax.random.gumbel(
      jax.random.fold_in(key, token_index), (vocabulary.CONTINUOUS_BINS,)
    )
  )(keys_B)
  return jnp.concatenate([noise[:, : len(span)] for span in bucket.columns], axis=1)


def prompt(
  config: GatoConfig,
  *,
  params: cache.ActingParams,
  state: ActingState,
  slot: jax.Array,
  chunk: Mapping[str, jax.Array],
) -> ActingState:
  """Empties one slot and reads its prompt.

  Args:
    config: Sizes of the network.
    params: Parameters of the network.
    state: State of all slots; donated.
    slot: Int32 [1], the slot.
    chunk: Prompt of one row, padded behind its "length", int32 [1]. "is_prompt", bool [1], is False
      where it holds the episode's own past instead (experiments/analysis/recorded/measure.py).
  """
  index = np.arange(chunk["kinds"].shape[1])[None]
  written = index < chunk["length"][:, None]
  row_cache = cache.view(state.kv_cache, slot, jnp.ones(1, bool))

  valid = written & (chunk["kinds"] != Kind.PADDING)
  if config.past_actions == "hidden":
    # A prompt shows actions; the steps of an episode's own past must not.
    valid &= chunk["is_prompt"][:, None] | (chunk["kinds"] != Kind.ACTION)

  _, step_cache = cache.read(
    config,
    params,
    kv_cache=row_cache,
    step_cache=cache.begin(config, rows=1, positions=index.shape[1]),
    x=cache.embed(config, params, chunk),
    start=0,
    offset=jnp.asarray(index),
    written=written,
    valid=valid,
  )
  return ActingState(
    kv_cache=cache.commit(
      state.kv_cache, slot, row_cache=row_cache, step_cache=step_cache, is_prompt=True
    ),
    pending=state.pending.at[slot].set(NONE_PENDING),
  )


def tokenise(
  row_tables: Mapping[str, jax.Array],
  pending: jax.Array,
  values: jax.Array,
  ids: jax.Array,
  lines: jax.Array,
) -> dict[str, jax.Array]:
  """Tokenises packed observations on the device; the tokens are those of `TokenLayout.encode`.

  Args:
    row_tables: `buckets.tables`, indexed by each row's task.
    pending: Int32 [B], the action token before the observation; -1: none.
    values: Float32 [B, T], of `buckets.pad_observations`, as the next two.
    ids: Int32 [B, T].
    lines: Uint8 [B, 16 P, 48].

  Returns:
    The chunk [pending action token, observation, separator], padded, that `cache.embed` takes.
  """
  kinds, local_positions = row_tables["kinds"][:, 1:], row_tables["locals"][:, 1:]

  # The tables describe full text fields; what a shorter text leaves over is padding.
  is_unused = (ids == packing.UNUSED) & (kinds == Kind.TEXT)
  kinds = jnp.where(is_unused, Kind.PADDING, kinds)
  local_positions = jnp.where(is_unused, -1, local_positions)

  # Both encodings of continuous values are computed; each position takes its own.
  mu_law = _bins(codec.mu_law_bins(), values) + vocabulary.CONTINUOUS_OFFSET
  linear = _bins(codec.linear_bins(), values) + vocabulary.CONTINUOUS_OFFSET
  continuous = jnp.where(row_tables["linear"], linear, mu_law)

  tokens = jnp.where(kinds == Kind.CONTINUOUS, continuous, ids)
  tokens = jnp.where(kinds == Kind.SEPARATOR, vocabulary.SEPARATOR, tokens)
  tokens = jnp.where(is_unused, vocabulary.PADDING_ID, tokens)

  # An image's pixels lie row by row; a patch is 16 lines of 16 pixels of different rows.
  side, rows = vocabulary.PATCH_SIDE, len(ids)
  line_index = row_tables["lines"].reshape(rows, -1, 1)
  patches = jnp.take_along_axis(lines, line_index, axis=1).reshape(rows, -1, side, side, 3)

  # Without a pending token, id 0 stands in; the step does not write that position.
  pending_Bx1 = jnp.maximum(pending, 0)[:, None]
  return {
    "tokens": jnp.concatenate([pending_Bx1, tokens], axis=1),
    "kinds": jnp.concatenate([row_tables["kinds"][:, :1], kinds], axis=1),
    "locals": jnp.concatenate([row_tables["locals"][:, :1], local_positions], axis=1),
    "patches": patches,
    "patch_positions": row_tables["patch_positions"],
    "patch_slots": row_tables["patch_slots"],
  }


def _bins(bins: codec.Bins, values: jax.Array) -> jax.Array:
  """Finds the bins of values, as `Bins.encode`."""
  # XLA takes subnormal numbers for zero, NumPy does not, and zero is an edge.
  is_zero = jnp.abs(values) < codec.SMALLEST_NORMAL
  values = jnp.where(is_zero, 0.0, values)

  # All edges at once: a search of ten dependent steps is slower than 1,023 comparisons.
  return jnp.searchsorted(bins.edges, values, side="right", method="compare_all")


def _action_chunk(token: jax.Array) -> dict[str, Any]:
  """Returns action tokens [B, 1] as a chunk."""
  rows, side = token.shape[0], vocabulary.PATCH_SIDE
  return {
    "tokens": token,
    "kinds": jnp.full_like(token, Kind.ACTION),
    "locals": jnp.full_like(token, -1),
    "patches": jnp.zeros([rows, 0, side, side, 3], jnp.uint8),
    "patch_positions": jnp.zeros([rows, 0, 4], jnp.int32),
    "patch_slots": jnp.zeros_like(token),
  }
