"""Sharding of parameters and batches: one table, logical axis -> mesh axis.

The mesh has the axes data, fsdp and model. Rows of a batch are split over (data, fsdp). Parameters
are split over fsdp along their width and over model along heads and feed-forward units. The
vocabulary (33,025, an odd number) is never split: its table is split along the width.

A training step computes by hand what crosses data and fsdp (jax.shard_map: `gather`, and one sum of
the loss) and leaves model to the compiler. When data and fsdp were left to it too, XLA summed
complete weight gradients over all devices before it cut them (TPU v5e, compiled by
launch/preflight): 258 MB for the token table at width 2048, and so for every output projection.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gato_jax.errors import GatoError

MESH_AXES = ("data", "fsdp", "model")

BATCH_AXES = ("data", "fsdp")

RULES: tuple[tuple[str, str | None], ...] = (
  ("layers", None),
  ("embed", "fsdp"),
  ("heads", "model"),
  ("key", None),
  ("qkv", None),
  ("mlp", "model"),
  ("norm", None),
  ("vocab", None),
  ("positions", None),
  ("patch", None),
)


def make_mesh(
  data: int = 0, fsdp: int = 1, model: int = 1, devices: Sequence[jax.Device] | None = None
) -> Mesh:
  """Returns a mesh of data x fsdp x model devices.

  Its axes have the type Auto, which linen's logical constraints need.

  Args:
    data: Devices along the axis data. One of the three may be 0: as many as the others leave.
    fsdp: Devices along the axis fsdp.
    model: Devices along the axis model. Neighbours along it are neighbours on the slice.
    devices: Devices of the mesh, by default all of every process. Several slices (TPUs joined by a
      data centre's network) lie one behind the other along data.

  Raises:
    GatoError: The axes do not make up the devices.
  """
  devices = list(jax.devices() if devices is None else devices)
  shape = [data, fsdp, model]
  settings = f"train.mesh_data={data}, train.mesh_fsdp={fsdp}, train.mesh_model={model}"

  if min(shape) < 0 or shape.count(0) > 1:
    raise GatoError(
      f"{settings}: axes are positive, and one of them at most is 0 (as many devices as the others"
      " leave)"
    )
  if 0 in shape:
    shape[shape.index(0)] = len(devices) // math.prod(size for size in shape if size)
  if math.prod(shape) != len(devices):
    raise GatoError(
      f"{settings}: {len(devices)} devices do not make such a mesh; their product must be that"
      " number"
    )

  # Only sums over data cross the slow network between slices, so slices divide that axis.
  slices = len({getattr(device, "slice_index", 0) for device in devices})
  if shape[0] % slices:
    raise GatoError(
      f"{settings}: the {slices} slices each take a part of the data axis, which has {shape[0]}"
      " devices"
    )
  shape_in_slice = [shape[0] // slices, *shape[1:]]

  # Without split physical axes there is no fsdp=8 on TPU v5e.
  if slices == 1:
    device_array = mesh_utils.create_device_mesh(
      shape_in_slice, devices, allow_split_physical_axes=True
    )
  else:
    device_array = mesh_utils.create_hybrid_device_mesh(
      shape_in_slice, [slices, 1, 1], devices, allow_split_physical_axes=True
    )

  return Mesh(device_array, MESH_AXES, axis_types=(jax.sharding.AxisType.Auto,) * 3)


def parameter_shardings(boxed: Any, mesh: Mesh) -> Any:
  """Returns the NamedSharding of every parameter of a (possibly abstract) boxed tree.

  Raises:
    ValueError: A parameter has no logical axes, or one that the table does not know.
  """
  rules = dict(RULES)

  def parameter_sharding(path: tuple, leaf: Any) -> NamedSharding:
    name = jax.tree_util.keystr(path)
    if not isinstance(leaf, nn.LogicallyPartitioned):
      raise ValueError(
        f"parameter {name} has no logical axes: create it with nn.with_logical_partitioning"
      )

    mesh_axes = []
    for axis in leaf.names:
      if axis not in rules:
        raise ValueError(
          f"parameter {name}: axis {axis!r} has no rule in gato_jax/model/sharding.py"
        )
      mesh_axes.append(rules[axis])

    return NamedSharding(mesh, PartitionSpec(*mesh_axes))

  return jax.tree_util.tree_map_with_path(
    parameter_sharding, boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned)
  )


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of a batch's arrays: rows, their first axis, over data and fsdp."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_batch(mesh: Mesh, batch_size: int, accumulate: int = 1) -> None:
  """Checks that the rows of a microbatch divide among the devices of data x fsdp.

  Raises:
    GatoError: They do not.
  """
  shards = mesh.shape["data"] * mesh.shape["fsdp"]
  if accumulate < 1 or batch_size % (shards * accumulate):
    raise GatoError(
      f"train.batch_size={batch_size} does not divide among {shards} devices (data x fsdp) x"
      f" train.accumulate={accumulate}; change one of them, or give train.mesh_model some of the"
      " devices"
    )


def process_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
  """Returns the rows of a global batch that this process's devices hold, ascending, int64 [n]."""
  slices = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
  rows = np.arange(batch_size)

  # Devices along the axis model hold the same rows.
  return np.unique(np.concatenate([rows[index] for index in slices]))


def replicated(mesh: Mesh) -> NamedSharding:
  """Returns the sharding of an array that every device holds completely."""
  return NamedSharding(mesh, PartitionSpec())


def by_hand(layout: NamedSharding) -> PartitionSpec:
  """Returns the part of a parameter's layout that the training step's shard_map handles: fsdp."""
  return PartitionSpec(*(axis if axis == "fsdp" else None for axis in layout.spec))


def automatic_axes() -> set[str]:
  """Returns the mesh axes that are left to the compiler where this is traced."""
  mesh = jax.sharding.get_abstract_mesh()
  return set(mesh.axis_names) - set(mesh.manual_axes)


def gather(parameter: jax.Array, axes: Sequence[str], dtype: jnp.dtype) -> jax.Array:
  """Gathers a parameter from its shards along fsdp, inside the training step's shard_map.

  In the backward pass the devices' gradients are summed in float32 and each device keeps its shard
  (a reduce-scatter over fsdp, then a sum of the shards over data).

  Args:
    parameter: This device's shard.
    axes: Logical axes of the parameter.
    dtype: Precision of what is sent; the result keeps the parameter's own dtype.

  Returns:
    The complete parameter, rounded to `dtype`. A parameter that is not split, or outside of the
    shard_map, is returned unchanged.
  """
  rules = dict(RULES)
  split_axes = [i for i, axis in enumerate(axes) if rules[axis] == "fsdp"]
  is_manual = "fsdp" in jax.sharding.get_abstract_mesh().manual_axes

  if not split_axes or not is_manual:
    return parameter
  return _gather(parameter, split_axes[0], dtype)


def vary_like(tree: Any, reference: jax.Array) -> Any:
  """Declares the arrays of a tree to vary along the mesh axes that a reference varies along.

  Inside shard_map, the carry of a loop keeps its type: it is an error if zeros, which are the same
  on every device, become sums, which are not.
  """
  axes = jax.typeof(reference).manual_axis_type.varying

  def vary(x: jax.Array) -> jax.Array:
    missing_axes = tuple(axes - jax.typeof(x).manual_axis_type.varying)
    return jax.lax.pcast(x, missing_axes, to="varying")

  return jax.tree.map(vary, tree)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather(shard: jax.Array, axis: int, dtype: jnp.dtype) -> jax.Array:
  # all_gather stacks the shards on a new first axis; next to `axis` the two merge by a reshape.
  shards = jnp.moveaxis(jax.lax.all_gather(shard.astype(dtype), "fsdp"), 0, axis)
  gathered = shards.reshape(*shard.shape[:axis], -1, *shard.shape[axis + 1 :])

  # Marked as varying over data. Otherwise JAX would sum the complete gradient over data instead of
  # leaving the shard's sum to the backward pass below.
  return jax.lax.pcast(gathered.astype(shard.dtype), "data", to="varying")


def _gather_forward(shard: jax.Array, axis: int, dtype: jnp.dtype) -> tuple[jax.Array, None]:
  return _gather(shard, axis, dtype), None


def _gather_backward(
  axis: int, dtype: jnp.dtype, residual: None, gradient: jax.Array
) -> tuple[jax.Array]:
  del dtype, residual
  shape, count = gradient.shape, jax.lax.axis_size("fsdp")

  shards = gradient.reshape(*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :])
  shards = jnp.moveaxis(shards, axis, 0)

  # Scattered along the first of three axes. Where its layout does not put that axis first, as it
  # likes to with more of them, XLA for TPU replaces a reduce-scatter by an all-reduce and a slice.
  flat = shards.reshape(count, -1, shards.shape[-1])
  shard = jax.lax.psum_scatter(flat, "fsdp", scatter_dimension=0).reshape(shards.shape[1:])

  return (jax.lax.psum(shard, "data"),)


_gather.defvjp(_gather_forward, _gather_backward)
