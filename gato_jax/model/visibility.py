"""Which positions of a training window attend to which: one rule, for whole windows and for tiles.

A few integers a position decide it, its codes. The plain attention makes a mask [B, L, L] of them;
a fused kernel reads the codes and applies the same rule, `attends`, inside each tile.

Legend of shapes: B rows, L positions, C codes of a position.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from gato_jax.tokens import vocabulary

# Segment of a key that no other position attends to; segments of queries are 0, 1, ...
_NO_SEGMENT = -1

# Step of a key that every step of its segment attends to; steps of queries are 0, 1, ...
_EVERY_STEP = -1


def attends(
  query_index: jax.Array,
  key_index: jax.Array,
  query_codes: Sequence[jax.Array],
  key_codes: Sequence[jax.Array],
) -> jax.Array:
  """Returns True where a query attends to a key. All arguments broadcast together.

  Args:
    query_index: Positions of the queries in the window.
    key_index: Positions of the keys.
    query_codes: A query's segment, and its step where past actions are hidden.
    key_codes: The segment whose queries attend to a key, and the step whose queries do.
  """
  is_allowed = query_codes[0] == key_codes[0]
  if len(query_codes) > 1:
    is_allowed &= (key_codes[1] == _EVERY_STEP) | (key_codes[1] == query_codes[1])

  # Every query sees itself, padding too, so that no softmax is empty.
  return (key_index == query_index) | ((key_index < query_index) & is_allowed)


def window_codes(
  kinds: jax.Array, segments: jax.Array, prompts: jax.Array | None = None
) -> jax.Array:
  """Returns the codes of a window, int32 [B, C, L]: those of queries, then those of keys.

  Args:
    kinds: Int32 [B, L], `vocabulary.Kind` of each position. Padding is no key.
    segments: Int32 [B, L]; positions attend to their own segment.
    prompts: Bool [B, L], True at the positions of a prompt. Given where past actions are hidden:
      an action is a key of its own step only. The actions of a prompt are keys of all steps: they
      are what a prompt is there to show.
  """
  key_segments = jnp.where(kinds == vocabulary.Kind.PADDING, _NO_SEGMENT, segments)
  if prompts is None:
    return jnp.stack([segments, key_segments], axis=1).astype(jnp.int32)

  is_action = kinds == vocabulary.Kind.ACTION

  # A step ends with its actions, so the next one begins where an action is followed by anything
  # else.
  begins_step = is_action[:, :-1] & ~is_action[:, 1:]
  steps = jnp.pad(jnp.cumsum(begins_step, axis=1), ((0, 0), (1, 0)))
  key_steps = jnp.where(is_action & ~prompts, steps, _EVERY_STEP)

  codes = [segments, steps, key_segments, key_steps]
  return jnp.stack(codes, axis=1).astype(jnp.int32)


def split(codes: jax.Array) -> tuple[list[jax.Array], list[jax.Array]]:
  """Returns the codes of queries and those of keys, each [B, L], of codes [B, C, L]."""
  count = codes.shape[1] // 2
  rows = [codes[:, row] for row in range(codes.shape[1])]
  return rows[:count], rows[count:]


def window_mask(codes: jax.Array) -> jax.Array:
  """Returns bool [B, L, L], True where a query attends to a key, of codes [B, C, L]."""
  query_codes, key_codes = split(codes)
  index = jnp.arange(codes.shape[-1])

  return attends(
    index[:, None],
    index[None, :],
    [code[:, :, None] for code in query_codes],
    [code[:, None, :] for code in key_codes],
  )
