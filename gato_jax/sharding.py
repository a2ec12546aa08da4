"""One table: logical axis -> mesh axis. The mesh has the axes data, fsdp and model.

Rows of a batch lie over (data, fsdp); parameters are split over fsdp along their width and over model along heads
and feed-forward units. The vocabulary (33,025, an odd number) is never split: its table is split along the width.
"""

from typing import Any

import flax.linen as nn
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

MESH_AXES = ("data", "fsdp", "model")

RULES: tuple[tuple[str, str | tuple[str, ...] | None], ...] = (
  ("batch", ("data", "fsdp")),
  ("length", None),
  ("activation_embed", None),
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


def make_mesh(data: int = 1, fsdp: int = 1, model: int = 1, devices: list[jax.Device] | None = None) -> Mesh:
  """A mesh of data x fsdp x model devices with Auto axes, which linen's logical constraints need."""
  devices = (devices or jax.devices())[: data * fsdp * model]
  if len(devices) < data * fsdp * model:
    raise ValueError(f"a mesh of {data} x {fsdp} x {model} needs {data * fsdp * model} devices, {len(devices)} exist")
  types = (jax.sharding.AxisType.Auto,) * 3
  return Mesh(np.asarray(devices).reshape(data, fsdp, model), MESH_AXES, axis_types=types)


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
  return NamedSharding(mesh, PartitionSpec(("data", "fsdp")))


def replicated(mesh: Mesh) -> NamedSharding:
  return NamedSharding(mesh, PartitionSpec())
