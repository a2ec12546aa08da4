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
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec

from gato_jax.model import attention_choice, sharding
from gato_jax.model import relative_flash_kernels as kernels


class Inputs(NamedTuple):
  """Inputs of the fused attention.

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


def attention(inputs: Inputs, key_size: int) -> jax.Array:
  """Returns the weighted values [B, L, H K].

  XLA does not split a kernel over a mesh by itself, so each device is told its part: of the rows
  along data and fsdp, where a training step has not done so already, and of the heads along model.

  Args:
    inputs: Queries, keys, values and what belongs to them.
    key_size: K.
  """
  tile = attention_choice.tile_side(inputs.q.shape[1], key_size)
  assert tile is not None, inputs.q.shape

  # There is no CPU to compile a kernel for; tests have it interpreted.
  interpret = attention_choice.device().platform == "cpu"
  return relative_attention(_as_varying(inputs), key_size, tile, interpret)


# What crosses devices is inside of the gradient's definition: JAX 0.10.2 cannot rematerialise a
# shard_map within a shard_map.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def relative_attention(
  inputs: Inputs, key_size: int, tile: int, interpret: bool = False
) -> jax.Array:
  """Returns the weighted values [B, L, H K].

  Args:
    inputs: As of `attention`.
    key_size: K.
    tile: Side of the tiles, which divides L.
    interpret: True computes what the kernel says without a TPU, slowly.
  """
  return _relative_attention_forward(inputs, key_size, tile, interpret)[0]


def _relative_attention_forward(
  inputs: Inputs, key_size: int, tile: int, interpret: bool
) -> tuple[jax.Array, Any]:
  specs = _specs()
  compute = functools.partial(_forward, key_size=key_size, tile=tile, interpret=interpret)
  mixed, log_sum = _on_each_device(compute, (specs.inputs,), (specs.rows, specs.log_sum))(inputs)

  mixed = checkpoint_name(mixed, attention_choice.OUTPUT)
  log_sum = checkpoint_name(log_sum, attention_choice.LOG_SUM)
  return mixed, (inputs, mixed, log_sum)


def _relative_attention_backward(
  key_size: int, tile: int, interpret: bool, residuals: Any, d_mixed: jax.Array
) -> tuple[Inputs]:
  specs = _specs()

  def compute(*args: Any) -> Inputs:
    gradients = _backward(*args, key_size=key_size, tile=tile, interpret=interpret)
    shared = (gradients.content_bias, gradients.distance_bias, gradients.relative_k)
    content_bias, distance_bias, relative_k = jax.lax.psum(shared, specs.row_axes)
    return gradients._replace(
      content_bias=content_bias,
      distance_bias=distance_bias,
      relative_k=relative_k.astype(residuals[0].relative_k.dtype),
    )

  in_specs = (specs.inputs, specs.rows, specs.log_sum, specs.rows)
  out_specs = specs.inputs._replace(codes=cast(Any, None))
  return (_on_each_device(compute, in_specs, out_specs)(*residuals, d_mixed),)


relative_attention.defvjp(_relative_attention_forward, _relative_attention_backward)


class _Specs(NamedTuple):
  """Partition specs over the mesh axes that are left to the compiler.

  Attributes:
    row_axes: Axes that rows are split over.
    rows: Of [B, L, H K].
    log_sum: Of [B, runs, heads of a run, L].
    inputs: Of `Inputs`.
  """

  row_axes: tuple[str, ...]
  rows: PartitionSpec
  log_sum: PartitionSpec
  inputs: Any


def _specs() -> _Specs:
  axes = sharding.automatic_axes()
  row_axes = tuple(axis for axis in sharding.BATCH_AXES if axis in axes)
  model = "model" if "model" in axes else None

  rows = PartitionSpec(row_axes, None, model)
  heads = PartitionSpec(None, model)
  specs: Any = (PartitionSpec(row_axes), heads, heads, rows, rows, rows, heads)
  return _Specs(row_axes, rows, PartitionSpec(row_axes, model), Inputs(*specs))


def _on_each_device(compute: Callable, in_specs: Any, out_specs: Any) -> Callable:
  """Returns a function that runs on every device's own part of its arguments."""
  axes = sharding.automatic_axes()
  if not axes:
    return compute

  return jax.shard_map(compute, in_specs=in_specs, out_specs=out_specs, axis_names=axes)


def _as_varying(inputs: Inputs) -> Inputs:
  """Declares all inputs to differ between the devices that the queries differ between.

  The gradient of what is in truth the same on several devices is then summed over them by JAX.
  """
  varying = jax.typeof(inputs.q).manual_axis_type.varying

  def as_varying(x: jax.Array) -> jax.Array:
    missing = tuple(varying - jax.typeof(x).manual_axis_type.varying)
    return jax.lax.pcast(x, missing, to="varying")

  return jax.tree.map(as_varying, inputs)


def _forward(
  inputs: Inputs, *, key_size: int, tile: int, interpret: bool
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
  *,
  key_size: int,
  tile: int,
  interpret: bool,
) -> Inputs:
  """Returns the gradients of the inputs, that of the relative keys in float32."""
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
    codes=cast(Any, None),  # integers have no gradient
    content_bias=d_content_bias,
    distance_bias=d_distance_bias,
    q=d_q,
    k=d_k,
    v=d_v,
    relative_k=d_relative_k,
  )


def _sizes(inputs: Inputs, key_size: int, tile: int) -> tuple[kernels.Sizes, int]:
  """Returns the sizes of a run, and the number of runs that all heads take."""
  _, length, width = inputs.q.shape
  heads = attention_choice.heads_of_run(width // key_size, key_size)
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
  return [jax.ShapeDtypeStruct(shape, dtype, manual_axis_type=varying) for shape, dtype in outputs]


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
    bytes_accessed=sum(x.nbytes for x in inputs),
  )
