"""One table: logical axis -> mesh axis. The mesh has the axes data, fsdp and model.

Rows of a batch lie over (data, fsdp); parameters are split over fsdp along their width and over model along heads
and feed-forward units. The vocabulary (33,025, an odd number) is never split: its table is split along the width.

A training step computes by hand what crosses data and fsdp (jax.shard_map: `gather`, and one sum of the loss) and
leaves model to the compiler. Left to it too, XLA summed whole weight gradients over all devices before it cut them (TPU
v5e, compiled by launch/preflight): for the token table 258 MB at width 2048, and for every output projection.
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


def make_mesh(data: int = 0, fsdp: int = 1, model: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
  """A mesh of data x fsdp x model devices with Auto axes, which linen's logical constraints need.

  Args:
    data, fsdp, model: devices along each axis; 0, of at most one of them: as many as the others leave.
    devices: all of every process by default. Neighbours along `model` are neighbours on the slice; several slices
      (TPUs joined by a data centre's network) lie one behind the other along `data`.

  Raises:
    GatoError: the axes do not make up the devices.
  """
  devices = list(jax.devices() if devices is None else devices)
  shape = [data, fsdp, model]
  asked = f"train.mesh_data={data}, train.mesh_fsdp={fsdp}, train.mesh_model={model}"
  if min(shape) < 0 or shape.count(0) > 1:
    raise GatoError(f"{asked}: axes are positive, and one of them at most is 0 (as many devices as the others leave)")
  if 0 in shape:
    shape[shape.index(0)] = len(devices) // math.prod(size for size in shape if size)
  if math.prod(shape) != len(devices):
    raise GatoError(f"{asked}: {len(devices)} devices do not make such a mesh; their product must be that number")
  types = (jax.sharding.AxisType.Auto,) * 3
  slices = len({getattr(device, "slice_index", 0) for device in devices})
  if shape[0] % slices:
    raise GatoError(f"{asked}: the {slices} slices each take a part of the data axis, which has {shape[0]} devices")
  inside = [shape[0] // slices, *shape[1:]]  # only sums over data cross the network between slices
  split = {"allow_split_physical_axes": True}  # else v5e has no fsdp=8
  if slices == 1:
    laid_out = mesh_utils.create_device_mesh(inside, devices, **split)
  else:
    laid_out = mesh_utils.create_hybrid_device_mesh(inside, [slices, 1, 1], devices, **split)
  return Mesh(laid_out, MESH_AXES, axis_types=types)


def parameter_shardings(boxed: Any, mesh: Mesh) -> Any:
  """NamedSharding for every parameter of a (possibly abstract) boxed tree.

  Raises:
    ValueError: a parameter has no logical axes, or one that the table does not know.
  """
  known = dict(RULES)

  def one(path: tuple, leaf: Any) -> NamedSharding:
    where = jax.tree_util.keystr(path)
    if not isinstance(leaf, nn.LogicallyPartitioned):
      raise ValueError(f"parameter {where} has no logical axes: create it with nn.with_logical_partitioning")
    missing = [name for name in leaf.names if name not in known]
    if missing:
      raise ValueError(f"parameter {where}: axis {missing[0]!r} has no rule in gato_jax/sharding.py")
    return NamedSharding(mesh, PartitionSpec(*(known[name] for name in leaf.names)))

  return jax.tree_util.tree_map_with_path(one, boxed, is_leaf=lambda x: isinstance(x, nn.LogicallyPartitioned))


def batch_sharding(mesh: Mesh) -> NamedSharding:
  """Rows over data and fsdp; every array of a batch has the rows first."""
  return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_batch(mesh: Mesh, batch_size: int, accumulate: int = 1) -> None:
  """Raises GatoError where the rows of a microbatch do not divide among the mesh's data x fsdp devices."""
  shards = mesh.shape["data"] * mesh.shape["fsdp"]
  if accumulate < 1 or batch_size % (shards * accumulate):
    raise GatoError(
      f"train.batch_size={batch_size} does not divide among {shards} devices (data x fsdp) x train.accumulate="
      f"{accumulate}; change one of them, or give train.mesh_model some of the devices"
    )


def process_rows(mesh: Mesh, batch_size: int) -> np.ndarray:
  """int64 [n], ascending: the rows of a global batch that this process's devices hold."""
  held = batch_sharding(mesh).addressable_devices_indices_map((batch_size,)).values()
  return np.unique(np.concatenate([np.arange(batch_size)[index] for index in held]))


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())


def by_hand(layout: NamedSharding) -> PartitionSpec:
  """The part of a parameter's layout that the training step's shard_map handles: fsdp."""
  return PartitionSpec(*(axis if axis == "fsdp" else None for axis in layout.spec))


def gather(parameter: jax.Array, axes: Sequence[str], dtype: jnp.dtype) -> jax.Array:
  """A shard of a parameter (inside the training step's shard_map) -> all of it, rounded to dtype; else unchanged.

  Backward, the devices' gradients are summed in float32 and each keeps its shard (reduce-scatter over fsdp, then the
  shards' sum over data).

  Args:
    axes: the parameter's logical axes.
  """
  split = [i for i, axis in enumerate(axes) if dict(RULES)[axis] == "fsdp"]
  if not split or "fsdp" not in jax.sharding.get_abstract_mesh().manual_axes:
    return parameter
  return _gather(parameter, split[0], dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2))
def _gather(shard: jax.Array, axis: int, dtype: jnp.dtype) -> jax.Array:
  shards = jnp.moveaxis(jax.lax.all_gather(shard.astype(dtype), "fsdp"), 0, axis)
  whole = shards.reshape(*shard.shape[:axis], -1, *shard.shape[axis + 1 :]).astype(shard.dtype)
  return jax.lax.pcast(whole, "data", to="varying")  # else the whole gradient, not its shard, is summed over data


def _gather_forward(shard: jax.Array, axis: int, dtype: jnp.dtype) -> tuple[jax.Array, None]:
  return _gather(shard, axis, dtype), None


def _gather_backward(axis: int, dtype: jnp.dtype, residual: None, gradient: jax.Array) -> tuple[jax.Array]:
  del dtype, residual
  shape, count = gradient.shape, jax.lax.axis_size("fsdp")
  shards = gradient.reshape(*shape[:axis], count, shape[axis] // count, *shape[axis + 1 :])
  shards = jnp.moveaxis(shards, axis, 0)
  # Scattered along the first of three axes: where its layout does not put that axis first, as it likes to with more of
  # them, XLA for TPU replaces a reduce-scatter by an all-reduce and a slice.
  flat = shards.reshape(count, -1, shards.shape[-1])
  shard = jax.lax.psum_scatter(flat, "fsdp", scatter_dimension=0).reshape(shards.shape[1:])
  return (jax.lax.psum(shard, "data"),)


_gather.defvjp(_gather_forward, _gather_backward)
