"""Fused attention with relative positions for TPUs, in Pallas: scores never lie in memory.

The classical algorithm (Dao et al. 2022) with the distance term of Transformer-XL (Dai et al. 2019)
added inside each tile, so that neither scores, nor distance scores, nor a mask [B, L, L] are ever
written. relative_flash_kernels.py has the tiles.

Queries, keys, values and the output lie as the projections make and take them, [B, L, H K]:
nothing is transposed, and heads narrower than 128 lanes are not padded.

Legend of shapes:
  B: rows of the batch
  L: positions
  H: heads
  K: key size
  W: lanes of a run, all heads of it
  C: codes of a position (visibility.py)
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu

from gato_jax.model import relative_flash_kernels as kernels

# Names of what rematerialisation keeps instead of computing it again: the output and, of each
# query, the log of its sum of exponentials.
OUTPUT = "attention_output"
LOG_SUM = "attention_log_sum"

LANES = 128

# A run holds whole rows of the batch in the fast memory, at most so long.
LONGEST = 2048


class Inputs(NamedTuple):
  """What attention is computed from.

  Attributes:
    codes: Int32 [B, C, L], visibility.window_codes.
    content_bias: Float32 [1, H K].
    distance_bias: Float32 [1, H K].
    q: [B, L, H K].
    k: [B, L, H K].
    v: [B, L, H K].
    relative_k: [L, H K], keys of the distances L - 1, ..., 0.
  """

  codes: jax.Array
  content_bias: jax.Array
  distance_bias: jax.Array
  q: jax.Array
  k: jax.Array
  v: jax.Array
  relative_k: jax.Array


def heads_of_run(heads: int, key_size: int) -> int | None:
  """Returns the number of heads that a run takes; None where they do not fill its lanes."""
  if key_size % LANES == 0:
    return 1

  count = LANES // key_size
  return None if LANES % key_size or heads % count else count


def tile_of(length: int) -> int | None:
  """Returns the side of the tiles for rows of a length; None where the kernel has none."""
  if length > LONGEST:
    return None

  return next((tile for tile in (256, 128) if length % tile == 0), None)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def relative_attention(
  inputs: Inputs, key_size: int, tile: int, interpret: bool = False
) -> jax.Array:
  """Returns the weighted values [B, L, H K].

  Args:
    inputs: Queries, keys, values and what belongs to them.
    key_size: K.
    tile: Side of the tiles, which divides L.
    interpret: True computes what the kernel says without a TPU, slowly.
  """
  return _forward(inputs, key_size, tile, interpret)[0]


def _relative_attention_forward(
  inputs: Inputs, key_size: int, tile: int, interpret: bool
) -> tuple[jax.Array, Any]:
  mixed, log_sum = _forward(inputs, key_size, tile, interpret)
  mixed, log_sum = checkpoint_name(mixed, OUTPUT), checkpoint_name(log_sum, LOG_SUM)
  return mixed, (inputs, mixed, log_sum)


def _relative_attention_backward(
  key_size: int, tile: int, interpret: bool, residuals: Any, d_mixed: jax.Array
) -> tuple[Inputs]:
  return (_backward(*residuals, d_mixed, key_size, tile=tile, interpret=interpret),)


relative_attention.defvjp(_relative_attention_forward, _relative_attention_backward)


def _forward(
  inputs: Inputs, key_size: int, tile: int, interpret: bool
) -> tuple[jax.Array, jax.Array]:
  """Returns the weighted values, and the logs of sums float32 [B, runs, heads of a run, L]."""
  rows, length, width = inputs.q.shape
  sizes, runs = _sizes(inputs, key_size, tile)
  log_sum_shape = (rows, runs, sizes.heads, length)

  return pl.pallas_call(
    functools.partial(kernels.forward, sizes=sizes),
    grid=(runs, rows),
    in_specs=_input_specs(inputs, sizes),
    out_specs=(_row_spec(sizes), _log_sum_spec(sizes)),
    out_shape=_shapes(inputs, (inputs.q.shape, inputs.q.dtype), (log_sum_shape, jnp.float32)),
    scratch_shapes=[
      pltpu.VMEM((tile, tile), jnp.float32),
      pltpu.VMEM((tile, sizes.heads * key_size), jnp.float32),
    ],
    compiler_params=_compiler_params(),
    cost_estimate=_cost(inputs, sizes, runs, products=3),
    interpret=interpret,
    name="relative_attention",
  )(*inputs)


def _backward(
  inputs: Inputs,
  mixed: jax.Array,
  log_sum: jax.Array,
  d_mixed: jax.Array,
  key_size: int,
  tile: int,
  interpret: bool,
) -> Inputs:
  """Returns the gradients of the inputs."""
  rows, length, width = inputs.q.shape
  sizes, runs = _sizes(inputs, key_size, tile)
  lanes = sizes.heads * key_size
  bias_spec, relative_spec = _bias_spec(sizes), _relative_spec(sizes)
  like_q = (inputs.q.shape, inputs.q.dtype)

  d_content_bias, d_distance_bias, d_q, d_k, d_v, d_relative_k = pl.pallas_call(
    functools.partial(kernels.backward, sizes=sizes),
    grid=(runs, rows),
    in_specs=[
      *_input_specs(inputs, sizes),
      _row_spec(sizes),
      _log_sum_spec(sizes),
      _row_spec(sizes),
    ],
    out_specs=(bias_spec, bias_spec, *[_row_spec(sizes)] * 3, relative_spec),
    out_shape=_shapes(
      inputs,
      *[((1, width), jnp.float32)] * 2,
      *[like_q] * 3,
      ((length, width), jnp.float32),
    ),
    scratch_shapes=[
      *[pltpu.VMEM((tile, tile), jnp.float32)] * 2,
      *[pltpu.VMEM((tile, lanes), jnp.float32)] * 2,
      *[pltpu.VMEM((length, lanes), jnp.float32)] * 2,
    ],
    compiler_params=_compiler_params(),
    cost_estimate=_cost(inputs, sizes, runs, products=8),
    interpret=interpret,
    name="relative_attention_gradient",
  )(*inputs, mixed, log_sum, d_mixed)

  return Inputs(
    codes=None,  # type: ignore[arg-type]  # integers have no gradient
    content_bias=d_content_bias,
    distance_bias=d_distance_bias,
    q=d_q,
    k=d_k,
    v=d_v,
    relative_k=d_relative_k.astype(inputs.relative_k.dtype),
  )


def _sizes(inputs: Inputs, key_size: int, tile: int) -> tuple[kernels.Sizes, int]:
  """Returns the sizes of a run, and the number of runs that all heads take."""
  _, length, width = inputs.q.shape
  heads = heads_of_run(width // key_size, key_size)
  assert heads is not None and length % tile == 0, (inputs.q.shape, key_size, tile)

  return kernels.Sizes(length, tile, key_size=key_size, heads=heads), width // (heads * key_size)


# Grids are (runs, rows of the batch), so that relative keys are read once for all rows, and their
# gradient is summed over rows before it is written.


def _row_spec(sizes: kernels.Sizes) -> pl.BlockSpec:
  return pl.BlockSpec(
    (1, sizes.length, sizes.heads * sizes.key_size), lambda run, row: (row, 0, run)
  )


def _bias_spec(sizes: kernels.Sizes) -> pl.BlockSpec:
  return pl.BlockSpec((1, sizes.heads * sizes.key_size), lambda run, row: (0, run))


def _relative_spec(sizes: kernels.Sizes) -> pl.BlockSpec:
  return pl.BlockSpec((sizes.length, sizes.heads * sizes.key_size), lambda run, row: (0, run))


def _log_sum_spec(sizes: kernels.Sizes) -> pl.BlockSpec:
  return pl.BlockSpec((1, 1, sizes.heads, sizes.length), lambda run, row: (row, run, 0, 0))


def _input_specs(inputs: Inputs, sizes: kernels.Sizes) -> list[pl.BlockSpec]:
  codes = pl.BlockSpec((1, *inputs.codes.shape[1:]), lambda run, row: (row, 0, 0))
  return [codes, *[_bias_spec(sizes)] * 2, *[_row_spec(sizes)] * 3, _relative_spec(sizes)]


def _shapes(inputs: Inputs, *outputs: tuple) -> list[jax.ShapeDtypeStruct]:
  # Inside of a shard_map outputs differ between the devices that the inputs differ between.
  varying = jax.typeof(inputs.q).manual_axis_type
  return [
    jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=varying) for shape, dtype in outputs
  ]


def _compiler_params() -> pltpu.CompilerParams:
  # Rows add to one gradient of the relative keys, so they come one after the other.
  return pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"))


def _cost(inputs: Inputs, sizes: kernels.Sizes, runs: int, products: int) -> pl.CostEstimate:
  """Returns what XLA schedules by and pre-flight counts.

  Args:
    inputs: Of the kernel.
    sizes: Of a run.
    runs: Number of runs.
    products: Products of a tile.
  """
  tiles = sizes.tiles * (sizes.tiles + 1) // 2
  scores = len(inputs.q) * runs * sizes.heads * tiles * sizes.tile**2

  return pl.CostEstimate(
    flops=products * 2 * sizes.key_size * scores,
    transcendentals=scores,
    bytes_accessed=sum(x.size * x.dtype.itemsize for x in inputs),
  )
