"""The tiles of `relative_flash`: bodies of the Pallas kernels, forward and backward.

One run of a kernel has all positions of one row of the batch, and as many heads as fill 128 lanes:
one of 128, four of 32. It walks over tiles of T queries by T keys and leaves out those above the
causal diagonal. Scores exist for one tile at a time.

The distance term of a tile. Relative keys lie in the order of distances L-1, ..., 0, in blocks of
T. For query n and key m of tile (i, j), at distance (i - j) T + n - m, the relative key is

  row L - 1 - (i - j) T - n + m  =  (N - 1 - i + j) T + (T - 1 - n + m),  with L = N T,

which lies in block b = N - 1 - i + j where m <= n, and in block b + 1 where m > n. In both it is
column (m - n - 1) mod T of the product of queries and block. So each product, [T, T], is rotated
to the right by n + 1 in row n, which `pltpu.roll` does with a stride of 1, and a tile takes the
lower left of one product and the upper right of the next. The tile of the next keys uses that one
again, so a product is computed once.

Legend of shapes:
  L: positions
  T: positions of a tile
  N: tiles of a row
  W: lanes of a run, all heads of it
  C: codes of a position (visibility.py)
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from gato_jax.model import visibility

# As in attention.py. What a row adds up while all its keys are masked is multiplied by
# exp(_MASKED - m) = 0 once it sees itself, which every query does.
_MASKED = -1e30

_ROWS = (((1,), (1,)), ((), ()))  # [a, c] x [b, c] -> [a, b]
_COLUMNS = (((0,), (0,)), ((), ()))  # [c, a] x [c, b] -> [a, b]
_MATRIX = (((1,), (0,)), ((), ()))  # [a, c] x [c, b] -> [a, b]


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of one run of a kernel.

  Attributes:
    length: L.
    tile: T, which divides L.
    key_size: Key size of a head.
    heads: Heads of a run.
  """

  length: int
  tile: int
  key_size: int
  heads: int

  @property
  def tiles(self) -> int:
    """N."""
    return self.length // self.tile

  def block(self, index: Any) -> Any:
    """Returns the slice of a block's positions."""
    start = index * self.tile
    return pl.ds(start if isinstance(start, int) else pl.multiple_of(start, self.tile), self.tile)


def forward(
  codes_ref,
  content_bias_ref,
  distance_bias_ref,
  q_ref,
  k_ref,
  v_ref,
  relative_k_ref,
  mixed_ref,
  log_sum_ref,
  distance_scores_ref,
  sum_ref,
  *,
  sizes: Sizes,
) -> None:
  """Computes the weighted values and, of each query, the log of the sum of its exponentials.

  Args:
    codes_ref: Int32 [1, C, L].
    content_bias_ref: Float32 [1, W].
    distance_bias_ref: Float32 [1, W].
    q_ref: [1, L, W].
    k_ref: [1, L, W].
    v_ref: [1, L, W].
    relative_k_ref: [L, W], of the distances L-1, ..., 0.
    mixed_ref: Output [1, L, W].
    log_sum_ref: Output float32 [1, 1, heads, L].
    distance_scores_ref: Scratch float32 [T, T].
    sum_ref: Scratch float32 [T, W].
    sizes: Sizes of the run.
  """

  def query_block(i: jax.Array, carry: None) -> None:
    queries = sizes.block(i)
    scores_of = functools.partial(
      _tile_scores,
      i,
      query_codes=_query_codes(codes_ref, queries),
      codes_ref=codes_ref,
      k_ref=k_ref,
      relative_k_ref=relative_k_ref,
      distance_scores_ref=distance_scores_ref,
      sizes=sizes,
    )
    mixed = jnp.zeros(sum_ref.shape, jnp.float32)

    for head in range(sizes.heads):
      content_q = _biased(q_ref, content_bias_ref, queries, head=head, sizes=sizes)
      distance_q = _biased(q_ref, distance_bias_ref, queries, head=head, sizes=sizes)
      _first_distance_scores(i, distance_q, relative_k_ref, distance_scores_ref, sizes)
      sum_ref[...] = jnp.zeros_like(sum_ref)

      def key_block(j, carry, content_q=content_q, distance_q=distance_q):
        largest, total = carry
        scores = scores_of(j, content_q, distance_q)

        new_largest = jnp.maximum(largest, scores.max(axis=1, keepdims=True))
        weights = jnp.exp(scores - new_largest)
        shrink = jnp.exp(largest - new_largest)

        values = v_ref[0, sizes.block(j), :]
        sum_ref[...] = shrink * sum_ref[...] + _dot(weights.astype(values.dtype), values, _MATRIX)
        return new_largest, shrink * total + weights.sum(axis=1, keepdims=True)

      largest, total = jax.lax.fori_loop(
        0,
        i + 1,
        key_block,
        (jnp.full((sizes.tile, 1), _MASKED), jnp.zeros((sizes.tile, 1), jnp.float32)),
      )
      mixed += _of_head(sum_ref[...] / total, head, sizes)
      log_sum_ref[0, 0, pl.ds(head, 1), queries] = _as_row(largest + jnp.log(total))

    mixed_ref[0, queries, :] = mixed.astype(mixed_ref.dtype)

  jax.lax.fori_loop(0, sizes.tiles, query_block, None)


def backward(
  codes_ref,
  content_bias_ref,
  distance_bias_ref,
  q_ref,
  k_ref,
  v_ref,
  relative_k_ref,
  mixed_ref,
  log_sum_ref,
  d_mixed_ref,
  d_content_bias_ref,
  d_distance_bias_ref,
  d_q_ref,
  d_k_ref,
  d_v_ref,
  d_relative_k_ref,
  distance_scores_ref,
  d_distance_scores_ref,
  d_content_q_ref,
  d_distance_q_ref,
  d_k_sum_ref,
  d_v_sum_ref,
  *,
  sizes: Sizes,
) -> None:
  """Computes the gradients, with the scores of each tile computed again.

  Args:
    codes_ref: The first nine are the inputs and outputs of `forward`.
    content_bias_ref: See above.
    distance_bias_ref: See above.
    q_ref: See above.
    k_ref: See above.
    v_ref: See above.
    relative_k_ref: See above.
    mixed_ref: See above.
    log_sum_ref: See above.
    d_mixed_ref: Gradient of the weighted values [1, L, W].
    d_content_bias_ref: Output float32 [1, W], summed over the rows of the batch.
    d_distance_bias_ref: Output float32 [1, W], summed over the rows of the batch.
    d_q_ref: Output [1, L, W].
    d_k_ref: Output [1, L, W].
    d_v_ref: Output [1, L, W].
    d_relative_k_ref: Output float32 [L, W], summed over the rows of the batch.
    distance_scores_ref: Scratch float32 [T, T].
    d_distance_scores_ref: Scratch float32 [T, T].
    d_content_q_ref: Scratch float32 [T, W].
    d_distance_q_ref: Scratch float32 [T, W], its queries in reverse order.
    d_k_sum_ref: Scratch float32 [L, W].
    d_v_sum_ref: Scratch float32 [L, W].
    sizes: Sizes of the run.
  """
  scale = sizes.key_size**-0.5
  dtype = q_ref.dtype
  shape = (sizes.tile, sizes.tile)
  row, column = (jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))

  # A product with it reverses the order of rows. Row n of the scores' gradient must be rotated to
  # the left by n + 1. Strides of a roll are not negative, but in reverse order row n' = T - 1 - n
  # is rotated by T - 1 - n = n' to the right. A permutation is exact in every dtype.
  reverse = (row + column == sizes.tile - 1).astype(dtype)

  @pl.when(pl.program_id(1) == 0)
  def _():
    for ref in (d_content_bias_ref, d_distance_bias_ref, d_relative_k_ref):
      ref[...] = jnp.zeros_like(ref)

  d_k_sum_ref[...] = jnp.zeros_like(d_k_sum_ref)
  d_v_sum_ref[...] = jnp.zeros_like(d_v_sum_ref)

  def query_block(i: jax.Array, carry: None) -> None:
    queries = sizes.block(i)
    scores_of = functools.partial(
      _tile_scores,
      i,
      query_codes=_query_codes(codes_ref, queries),
      codes_ref=codes_ref,
      k_ref=k_ref,
      relative_k_ref=relative_k_ref,
      distance_scores_ref=distance_scores_ref,
      sizes=sizes,
    )
    d_q = jnp.zeros(d_content_q_ref.shape, jnp.float32)

    for head in range(sizes.heads):
      content_q = _biased(q_ref, content_bias_ref, queries, head=head, sizes=sizes)
      distance_q = _biased(q_ref, distance_bias_ref, queries, head=head, sizes=sizes)
      reversed_distance_q = _dot(reverse, distance_q, _MATRIX).astype(dtype)
      log_sum = _as_column(log_sum_ref[0, 0, pl.ds(head, 1), queries])

      # The softmax's gradient is weights x (gradient - mean of the gradient by these weights).
      d_mixed = _of_head(d_mixed_ref[0, queries, :].astype(jnp.float32), head, sizes)
      mean = (d_mixed * mixed_ref[0, queries, :].astype(jnp.float32)).sum(axis=1, keepdims=True)
      d_mixed = d_mixed.astype(dtype)

      _first_distance_scores(i, distance_q, relative_k_ref, distance_scores_ref, sizes)
      for ref in (d_distance_scores_ref, d_content_q_ref, d_distance_q_ref):
        ref[...] = jnp.zeros_like(ref)

      def key_block(
        j,
        carry,
        content_q=content_q,
        distance_q=distance_q,
        reversed_distance_q=reversed_distance_q,
        log_sum=log_sum,
        d_mixed=d_mixed,
        mean=mean,
      ):
        keys = sizes.block(j)
        weights = jnp.exp(scores_of(j, content_q, distance_q) - log_sum)
        d_weights = _dot(d_mixed, v_ref[0, keys, :], _ROWS)
        d_scores = (weights * (d_weights - mean)).astype(dtype)

        d_v_sum_ref[keys, :] += _dot(weights.astype(dtype), d_mixed, _COLUMNS)
        d_k_sum_ref[keys, :] += _dot(d_scores, content_q, _COLUMNS)
        d_content_q_ref[...] += _dot(d_scores, k_ref[0, keys, :], _MATRIX)

        # This tile has the part of block b that comes from keys m <= n; the tile before it had the
        # other part.
        rotated = pltpu.roll(_dot(reverse, d_scores, _MATRIX), 0, 1, stride=1, stride_axis=0)
        d_products = jnp.where(column >= row, rotated, d_distance_scores_ref[...]).astype(dtype)
        d_distance_scores_ref[...] = rotated

        block = sizes.block(sizes.tiles - 1 - i + j)
        d_distance_q_ref[...] += _dot(d_products, relative_k_ref[block, :], _MATRIX)
        d_relative_k_ref[block, :] += _dot(d_products, reversed_distance_q, _COLUMNS)
        return carry

      jax.lax.fori_loop(0, i + 1, key_block, None)

      d_content_q = scale * _of_head(d_content_q_ref[...], head, sizes)
      d_distance_q = scale * _of_head(d_distance_q_ref[...], head, sizes)
      d_content_bias_ref[...] += d_content_q.sum(axis=0, keepdims=True)
      d_distance_bias_ref[...] += d_distance_q.sum(axis=0, keepdims=True)
      d_q += d_content_q + _dot(reverse, d_distance_q.astype(dtype), _MATRIX)

    d_q_ref[0, queries, :] = d_q.astype(d_q_ref.dtype)

  jax.lax.fori_loop(0, sizes.tiles, query_block, None)
  d_k_ref[0] = d_k_sum_ref[...].astype(d_k_ref.dtype)
  d_v_ref[0] = d_v_sum_ref[...].astype(d_v_ref.dtype)


def _tile_scores(
  i: jax.Array,
  j: jax.Array,
  content_q: jax.Array,
  distance_q: jax.Array,
  *,
  query_codes: list[jax.Array],
  codes_ref,
  k_ref,
  relative_k_ref,
  distance_scores_ref,
  sizes: Sizes,
) -> jax.Array:
  """Returns the scores of tile (i, j), float32 [T, T], masked.

  `distance_scores_ref` holds the rotated distance scores of block N - 1 - i + j, and then those of
  the next block, for the next tile.
  """
  keys = sizes.block(j)
  shape = (sizes.tile, sizes.tile)
  row, column = (jax.lax.broadcasted_iota(jnp.int32, shape, axis) for axis in (0, 1))

  # On the diagonal there is no next block: it would be that of later keys, which are masked.
  next_block = sizes.block(jnp.minimum(sizes.tiles - i + j, sizes.tiles - 1))
  next_scores = _distance_scores(distance_q, relative_k_ref[next_block, :])
  scores = jnp.where(column <= row, distance_scores_ref[...], next_scores)
  scores += _dot(content_q, k_ref[0, keys, :], _ROWS)
  distance_scores_ref[...] = next_scores

  count = codes_ref.shape[1] // 2
  is_visible = visibility.attends(
    i * sizes.tile + row,
    j * sizes.tile + column,
    query_codes,
    [codes_ref[0, pl.ds(count + code, 1), keys] for code in range(count)],
  )
  return jnp.where(is_visible, scores, _MASKED)


def _first_distance_scores(i, distance_q, relative_k_ref, distance_scores_ref, sizes) -> None:
  """Sets the distance scores that the first tile of a row of tiles begins with."""
  block = sizes.block(sizes.tiles - 1 - i)
  distance_scores_ref[...] = _distance_scores(distance_q, relative_k_ref[block, :])


def _distance_scores(distance_q: jax.Array, relative_k: jax.Array) -> jax.Array:
  """Returns float32 [T, T], row n rotated to the right by n + 1."""
  return pltpu.roll(_dot(distance_q, relative_k, _ROWS), 1, 1, stride=1, stride_axis=0)


def _query_codes(codes_ref, queries) -> list[jax.Array]:
  """Returns the codes of queries, each int32 [T, 1]."""
  count = codes_ref.shape[1] // 2
  rows = [codes_ref[0, pl.ds(code, 1), queries] for code in range(count)]

  # Through float32, which is transposed on every generation: codes are numbers up to the length.
  return [_as_column(row.astype(jnp.float32)).astype(jnp.int32) for row in rows]


def _biased(q_ref, bias_ref, queries, head: int, sizes: Sizes) -> jax.Array:
  """Returns scaled queries with a bias, [T, W]; 0 in the lanes of other heads.

  A product over all lanes is then the head's alone. The matrix unit sums over at least 128 anyway.
  """
  queries = q_ref[0, queries, :].astype(jnp.float32) + bias_ref[...]
  return _of_head(sizes.key_size**-0.5 * queries, head, sizes).astype(q_ref.dtype)


def _of_head(x: jax.Array, head: int, sizes: Sizes) -> jax.Array:
  """Returns x [T, W] with 0 in the lanes of other heads."""
  if sizes.heads == 1:
    return x

  lane = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)
  first = head * sizes.key_size
  return jnp.where((lane >= first) & (lane < first + sizes.key_size), x, 0.0)


def _as_column(row: jax.Array) -> jax.Array:
  """Returns [T, 1] of [1, T], by way of the 8 sublanes of a register."""
  return jnp.broadcast_to(row, (8, row.shape[1])).T[:, :1]


def _as_row(column: jax.Array) -> jax.Array:
  """Returns [1, T] of [T, 1], by way of the 128 lanes of a register."""
  return jnp.broadcast_to(column, (column.shape[0], 128)).T[:1]


def _dot(left: jax.Array, right: jax.Array, dimensions: Any) -> jax.Array:
  """Multiplies with a float32 result; products of float32 are not rounded to bfloat16."""
  precision = jax.lax.Precision.HIGHEST if left.dtype == jnp.float32 else None
  return jax.lax.dot_general(
    left, right, dimensions, precision=precision, preferred_element_type=jnp.float32
  )
