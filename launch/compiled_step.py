"""Compiles the real training step for a slice and reads off what it needs: memory, FLOPs, collectives."""

import dataclasses
import math
import re
import time
from typing import Any

import jax
import numpy as np

from gato_jax import model, sharding
from gato_jax.errors import GatoError
from gato_jax.model import flops
from gato_jax.train import loop, optimizer, state, step
from launch import collectives, hlo, products, slices

_UNITS = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Shapes:
  """A batch's: rows, length, patches a row, targets a row, components of the mixture."""

  rows: int
  length: int
  patches: int
  targets: int
  components: int

  def batch(self) -> dict[str, jax.ShapeDtypeStruct]:
    """docs/batch.md."""
    b, n, p = self.rows, self.length, self.patches
    shapes = {
      **dict.fromkeys(("tokens", "labels", "kinds", "locals", "segments", "patch_slots"), ((b, n), np.int32)),
      "targets": ((b, n), np.bool_),
      "patches": ((b, p, 16, 16, 3), np.uint8),
      "patch_positions": ((b, p, 4), np.int32),
      "components": ((b,), np.int32),
    }
    return {name: jax.ShapeDtypeStruct(shape, dtype) for name, (shape, dtype) in shapes.items()}


@dataclasses.dataclass(frozen=True)
class Needs:
  """What one step needs on a slice.

  Attributes:
    mesh: axis -> devices. parameters: their number.
    memory: bytes of one device by kind; they add up to what must fit. None where XLA refused to compile for lack of it.
    refused: bytes of one device that XLA asked for when it refused.
    state: bytes of one device's parameters and of its optimizer.
    model_flops, program_flops: of a step on all devices; the second is None where XLA refused.
    once_flops: the program's products on one device with every loop's body once, and xla_flops, XLA's count of the
      same: the two are close, or the first is wrong.
    collectives: kind -> (runs, bytes) a step.
    seconds: of compiling.
  """

  mesh: dict[str, int]
  parameters: int
  state: dict[str, int]
  model_flops: float
  seconds: float
  memory: dict[str, int] | None = None
  refused: int | None = None
  program_flops: float | None = None
  once_flops: float | None = None
  xla_flops: float | None = None
  collectives: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)

  @property
  def total(self) -> int:
    """Bytes of one device."""
    return self.refused if self.memory is None else sum(self.memory.values())


def compile_step(
  model_config: model.GatoConfig,
  train_config: loop.TrainConfig,
  optimizer_config: optimizer.OptimizerConfig,
  place: slices.Slice,
  shapes: Shapes,
) -> Needs:
  """
  Raises:
    GatoError: the mesh does not fit the slice, or the batch not the mesh.
  """
  config = train_config
  mesh = sharding.make_mesh(config.mesh_data, config.mesh_fsdp, config.mesh_model, place.devices)
  sharding.check_batch(mesh, shapes.rows, config.accumulate)
  axes = dict(mesh.shape)
  shards = axes["data"] * axes["fsdp"]
  trainer = step.Trainer(
    model_config,
    optimizer_config,
    mesh,
    shapes.components,
    loss_chunk=config.loss_chunk,
    accumulate=config.accumulate,
  )
  template = trainer.template()
  targets = shapes.rows * shapes.targets
  known = dict(
    mesh=axes,
    parameters=model.count_parameters(template.params),
    state=state_bytes(template),
    model_flops=flops.train_step(
      model_config, rows=shapes.rows, length=shapes.length, targets=targets, patches=shapes.rows * shapes.patches
    ),
  )
  began = time.perf_counter()
  lowered = trainer.lower(shapes.batch())
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as e:
    if not str(e).startswith("RESOURCE_EXHAUSTED"):
      raise
    return Needs(**known, refused=refused_bytes(str(e)), seconds=time.perf_counter() - began)
  seconds = time.perf_counter() - began

  text = compiled.as_text()
  program = hlo.parse(text)
  chunks = math.ceil(targets / shards / config.accumulate / config.loss_chunk)  # turns of the loss's loop, on average
  return Needs(
    **known,
    seconds=seconds,
    memory=memory_by_kind(compiled.memory_analysis(), known["state"]),
    program_flops=products.product_flops(program, chunks) * len(place.devices),
    once_flops=products.product_flops(program, loops_once=True),
    xla_flops=compiled.cost_analysis()["flops"],
    collectives=collectives.totals(collectives.collectives(text, chunks)),
  )


def state_bytes(template: state.TrainState) -> dict[str, int]:
  """Bytes of one device's share of the parameters and of the optimizer, from a Trainer's template."""

  def held(tree: Any) -> int:
    return sum(math.prod(a.sharding.shard_shape(a.shape)) * a.dtype.itemsize for a in jax.tree.leaves(tree))

  return {"parameters": held(template.params), "optimizer": held(template.optimizer)}


def memory_by_kind(stats: Any, held: dict[str, int]) -> dict[str, int]:
  """Bytes of one device, adding up to arguments + temporaries + outputs - aliases (XLA's memory analysis) + program."""
  return {
    **held,
    "batch, padding of layouts": stats.argument_size_in_bytes - sum(held.values()),
    "gradients, activations, buffers": stats.temp_size_in_bytes,
    "outputs": stats.output_size_in_bytes,
    "outputs that reuse arguments": -stats.alias_size_in_bytes,
    "program": stats.generated_code_size_in_bytes,
  }


def refused_bytes(message: str) -> int:
  """What a program needed that XLA refused to compile: "... (640.00G) exceeds available HBM (15.48G)" and the like.

  Raises:
    GatoError: the message has no such figure.
  """
  found = re.search(r"\(([\d.]+)([BKMGT])\) exceeds available|Used ([\d.]+)([BKMGT]) of", message)
  if not found:
    raise GatoError(f"XLA ran out of memory and does not say by how much: {message.splitlines()[0]}")
  number, unit = (g for g in found.groups() if g)
  return int(float(number) * _UNITS[unit])
