"""A step of acting as one compiled call: raw observations in, actions out, the memory donated.

Legend: S slots of the memory, b rows of the call, T observation tokens and separator, A action tokens, P patches,
C columns of the head, M = T + A positions.
"""

from collections.abc import Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.agent import packing
from gato_jax.agent.shapes import Shape
from gato_jax.model import GatoConfig, acting
from gato_jax.tokens import codec, vocabulary
from gato_jax.tokens.vocabulary import Kind

NONE_PENDING = -1


@flax.struct.dataclass
class State:
  """What is remembered of every slot.

  Attributes:
    memory: of everything read. pending: int32 [S], the last action token, sampled but not read yet: the next step reads
      it with its observation, which saves a pass over the weights; -1: none.
  """

  memory: acting.Memory
  pending: jax.Array


@flax.struct.dataclass
class Asked:
  """Who acts, int32 [b] each.

  Attributes:
    rows: slots; S and above: a padding row. Ascending from 0 where the call takes all slots.
    tasks: index into the shape's tables. fresh: 1 where an episode, or its memory, begins.
    seeds, steps: of the episodes; with the token's index they fix its random draw.
  """

  rows: jax.Array
  tasks: jax.Array
  fresh: jax.Array
  seeds: jax.Array
  steps: jax.Array


def init_state(config: GatoConfig, slots: int) -> State:
  return State(acting.init_memory(config, slots), jnp.full(slots, NONE_PENDING, jnp.int32))


def head(params: acting.ActingParams, shape: Shape) -> jax.Array:
  """The rows of the tied output projection that a shape's actions can take: [C, d]."""
  return jnp.concatenate([params.embedding["tokens"][ids.start : ids.stop] for ids in shape.columns])


def act(
  config: GatoConfig,
  shape: Shape,
  whole: bool,
  params: acting.ActingParams,
  state: State,
  tables: Mapping[str, jax.Array],
  head: jax.Array,
  temperature: jax.Array,
  asked: jax.Array,
  values: jax.Array,
  ids: jax.Array,
  lines: jax.Array,
) -> tuple[State, jax.Array]:
  """Reads one observation a row and samples its action.

  Args:
    whole: the call's rows are all slots, in their order; the memory is then read where it lies.
    tables: of shapes.tables, head: of `head`, both of this shape.
    asked: int32 [5, b], the fields of `Asked`. values, ids [b, T], lines [b, 16 P, 48]: packing.Packed, padded.

  Returns:
    The new state, and the actions, float32 [b, A]: values of continuous actions, numbers of discrete ones.
  """
  asked = Asked(*asked)
  slots = state.pending.shape[0]
  rows = None if whole else asked.rows
  # A padding row reads an empty memory and writes nowhere.
  here = asked.rows < slots
  fresh = (asked.fresh != 0) | ~here
  past = acting.view(state.memory, rows, fresh)
  pending = state.pending if whole else state.pending.at[asked.rows].get(mode="clip")
  pending = jnp.where(fresh, NONE_PENDING, pending)
  table = {name: value[asked.tasks] for name, value in tables.items() if name != "centres"}
  chunk = _tokenise(table, pending, values, ids, lines)

  first = jnp.where(pending >= 0, 0, 1)[:, None]
  at = np.arange(1 + shape.tokens)
  written = here[:, None] & (at >= first) & (at < table["end"][:, None])
  attended = written & (chunk["kinds"] != Kind.PADDING)
  present = acting.begin(config, len(asked.rows), shape.positions)
  x = acting.embed(config, params, chunk)
  hidden, present = acting.read(config, params, past, present, x, 0, at - first, written, attended)
  hidden = jnp.take_along_axis(hidden, (table["end"] - 1)[:, None, None], axis=1)[:, 0]

  column_ids = jnp.concatenate([jnp.arange(one.start, one.stop) for one in shape.columns])
  keys = jax.vmap(lambda seed, step: jax.random.fold_in(jax.random.fold_in(jax.random.key(0), seed), step))(
    asked.seeds, asked.steps
  )

  def sample(hidden: jax.Array, index: int | jax.Array) -> jax.Array:
    """Hidden states [b, d] -> legal columns [b] of action token `index`."""
    logits = jnp.einsum("bd,cd->bc", hidden, head, preferred_element_type=jnp.float32)
    column = np.arange(logits.shape[1])
    low, high = (jax.lax.dynamic_index_in_dim(table[name], index, 1) for name in ("low", "high"))
    logits = jnp.where((column >= low) & (column <= high), logits, -jnp.inf)
    # Gumbel: a sample; without noise: the mode. A column's noise does not depend on the columns there are beside it.
    noise = jax.vmap(lambda key: jax.random.gumbel(jax.random.fold_in(key, index), (vocabulary.CONTINUOUS_BINS,)))(keys)
    noise = jnp.concatenate([noise[:, : len(one)] for one in shape.columns], axis=1)
    return jnp.argmax(logits + temperature * noise, axis=-1)

  def next_token(carry: tuple[Any, jax.Array], index: jax.Array) -> tuple[tuple[Any, jax.Array], jax.Array]:
    present, column = carry
    place = (table["end"][:, None] - first) + index - 1  # of the action token before
    written = (here & (index < table["actions"]))[:, None]  # the last one waits for the next step
    x = acting.embed(config, params, _action(column_ids[column][:, None]))
    hidden, present = acting.read(config, params, past, present, x, shape.tokens + index, place, written, written)
    column = sample(hidden[:, 0], index)
    return (present, column), column

  column = sample(hidden, 0)
  (present, _), columns = jax.lax.scan(next_token, (present, column), jnp.arange(1, shape.actions))
  columns = jnp.concatenate([column[None], columns]).T  # [b, A]

  last = jnp.take_along_axis(column_ids[columns], (table["actions"] - 1)[:, None], axis=1)[:, 0]
  memory = acting.commit(state.memory, asked.rows, past, present)
  pending = state.pending.at[asked.rows].set(last, mode="drop")
  bins = jnp.minimum(columns, vocabulary.CONTINUOUS_BINS - 1)
  centres = tables["centres"][table["bins"], bins]
  actions = jnp.where(table["continuous"][:, None], centres, column_ids[columns].astype(jnp.float32))
  return State(memory, pending), actions


def prompt(
  config: GatoConfig, params: acting.ActingParams, state: State, slot: jax.Array, chunk: Mapping[str, jax.Array]
) -> State:
  """Empties one slot (int32 [1]) and reads its prompt, a chunk of one row; "length" int32 [1] of it are no padding."""
  at = np.arange(chunk["kinds"].shape[1])[None]
  past = acting.view(state.memory, slot, jnp.ones(1, bool))
  written = at < chunk["length"][:, None]
  present = acting.begin(config, 1, at.shape[1])
  x = acting.embed(config, params, chunk)
  attended = written & (chunk["kinds"] != Kind.PADDING)
  _, present = acting.read(config, params, past, present, x, 0, jnp.asarray(at), written, attended)
  return State(acting.commit(state.memory, slot, past, present), state.pending.at[slot].set(NONE_PENDING))


def _tokenise(
  table: Mapping[str, jax.Array], pending: jax.Array, values: jax.Array, ids: jax.Array, lines: jax.Array
) -> dict[str, jax.Array]:
  """Packed observations -> the chunk [pending action token, observation, separator] that the model reads."""
  mu_law, linear = (
    _bins(bins, values) + vocabulary.CONTINUOUS_OFFSET for bins in (codec.mu_law_bins(), codec.linear_bins())
  )
  kinds, places = table["kinds"][:, 1:], table["locals"][:, 1:]
  unused = (ids == packing.UNUSED) & (kinds == Kind.TEXT)
  kinds, places = jnp.where(unused, Kind.PADDING, kinds), jnp.where(unused, -1, places)
  tokens = jnp.where(kinds == Kind.CONTINUOUS, jnp.where(table["linear"], linear, mu_law), ids)
  tokens = jnp.where(kinds == Kind.SEPARATOR, vocabulary.SEPARATOR, tokens)
  tokens = jnp.where(unused, vocabulary.PADDING_ID, tokens)
  side = vocabulary.PATCH_SIDE
  patches = jnp.take_along_axis(lines, table["lines"].reshape(len(ids), -1, 1), axis=1)
  return {
    "tokens": jnp.concatenate([jnp.maximum(pending, 0)[:, None], tokens], axis=1),
    "kinds": jnp.concatenate([table["kinds"][:, :1], kinds], axis=1),
    "locals": jnp.concatenate([table["locals"][:, :1], places], axis=1),
    "patches": patches.reshape(len(ids), -1, side, side, 3),
    "patch_positions": table["patch_positions"],
    "patch_slots": table["patch_slots"],
  }


def _bins(bins: codec.Bins, values: jax.Array) -> jax.Array:
  """As `Bins.encode`, all edges at once: a search of ten dependent steps is slower than 1,023 comparisons."""
  zero = jnp.abs(values) < codec.SMALLEST_NORMAL
  return jnp.searchsorted(bins.edges, jnp.where(zero, 0.0, values), side="right", method="compare_all")


def _action(token: jax.Array) -> dict[str, jax.Array]:
  """Action tokens [b, 1] as a chunk."""
  rows = token.shape[0]
  return {
    "tokens": token,
    "kinds": jnp.full_like(token, Kind.ACTION),
    "locals": jnp.full_like(token, -1),
    "patches": jnp.zeros([rows, 0, vocabulary.PATCH_SIDE, vocabulary.PATCH_SIDE, 3], jnp.uint8),
    "patch_positions": jnp.zeros([rows, 0, 4], jnp.int32),
    "patch_slots": jnp.zeros_like(token),
  }
