"""Compiles the real training step for a slice and reads off its memory, FLOPs and collectives."""

import dataclasses
import math
import re
import time
from typing import Any

import jax
import numpy as np

from gato_jax import model
from gato_jax.errors import GatoError
from gato_jax.model import attention_choice, flops, sharding
from gato_jax.train import loop, optimizer, state, step
from launch import collectives, hlo, products, slices
from launch.roofline import Roofline, estimate

_UNITS = {"B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


@dataclasses.dataclass(frozen=True)
class Shapes:
  """Sizes of a batch.

  Attributes:
    rows: Rows, over all devices.
    length: Tokens a row.
    patches: Image patches a row.
    targets: Predicted tokens a row.
    components: Components of the mixture.
  """

  rows: int
  length: int
  patches: int
  targets: int
  components: int

  def batch(self) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch (docs/batch.md)."""
    b, n, p = self.rows, self.length, self.patches
    int32 = np.dtype(np.int32)
    shapes = {
      "tokens": ((b, n), int32),
      "labels": ((b, n), int32),
      "kinds": ((b, n), int32),
      "locals": ((b, n), int32),
      "segments": ((b, n), int32),
      "patch_slots": ((b, n), int32),
      "targets": ((b, n), np.dtype(bool)),
      "prompts": ((b, n), np.dtype(bool)),
      "patches": ((b, p, 16, 16, 3), np.dtype(np.uint8)),
      "patch_positions": ((b, p, 4), int32),
      "components": ((b,), int32),
    }
    return {name: jax.ShapeDtypeStruct(shape, dtype) for name, (shape, dtype) in shapes.items()}


@dataclasses.dataclass(frozen=True)
class Needs:
  """Needs of one training step on a slice.

  Attributes:
    mesh: Axis -> devices.
    parameters: Number of parameters.
    state: Bytes of one device's parameters and of its optimizer.
    model_flops: Model FLOPs of a step on all devices.
    seconds: Seconds of compiling.
    attention: Implementation of attention, which "auto" has chosen.
    memory: Bytes of one device by kind; they add up to what must fit. None where XLA refused to
      compile for lack of memory.
    refused: Bytes of one device that XLA asked for when it refused.
    program_flops: FLOPs of the program's products on all devices; None where XLA refused.
    once_flops: The program's products on one device with every loop's body once.
    xla_flops: XLA's own count of the same: the two are close, or `once_flops` is wrong.
    collectives: Kind -> (runs, bytes) of a step.
    overlapped: Bytes of the collectives during which the devices compute.
    roofline: Least time of a step; None where XLA refused.
  """

  mesh: dict[str, int]
  parameters: int
  state: dict[str, int]
  model_flops: float
  seconds: float
  attention: str = "xla"
  memory: dict[str, int] | None = None
  refused: int | None = None
  program_flops: float | None = None
  once_flops: float | None = None
  xla_flops: float | None = None
  collectives: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
  overlapped: int = 0
  roofline: Roofline | None = None

  @property
  def total(self) -> int:
    """Bytes of one device."""
    if self.memory is not None:
      return sum(self.memory.values())

    assert self.refused is not None
    return self.refused


def compile_step(
  model_config: model.GatoConfig,
  train_config: loop.TrainConfig,
  optimizer_config: optimizer.OptimizerConfig,
  tpu_slice: slices.Slice,
  shapes: Shapes,
) -> Needs:
  """Compiles the training step for a slice and returns its needs.

  Raises:
    GatoError: The mesh does not fit the slice, or the batch not the mesh.
  """
  config = train_config
  mesh = sharding.make_mesh(
    config.mesh_data, config.mesh_fsdp, model=config.mesh_model, devices=tpu_slice.devices
  )
  sharding.check_batch(mesh, shapes.rows, accumulate=config.accumulate)

  trainer = step.Trainer(
    model_config,
    optimizer_config,
    mesh=mesh,
    components=shapes.components,
    loss_chunk=config.loss_chunk,
    accumulate=config.accumulate,
  )
  template = trainer.template()
  targets = shapes.rows * shapes.targets
  model_flops = flops.train_step(
    model_config,
    rows=shapes.rows,
    length=shapes.length,
    targets=targets,
    patches=shapes.rows * shapes.patches,
  )
  with jax.set_mesh(mesh):
    attention = attention_choice.implementation(model_config, shapes.length)
  needs = Needs(
    mesh=dict(mesh.shape),
    parameters=model.count_parameters(template.params),
    state=state_bytes(template),
    model_flops=model_flops,
    seconds=0.0,
    attention=attention,
  )

  # JAX can write such a program to its persistent cache and cannot read it back without a TPU.
  jax.config.update("jax_enable_compilation_cache", False)

  began = time.perf_counter()
  lowered = trainer.lower(shapes.batch())
  try:
    compiled = lowered.compile()
  except jax.errors.JaxRuntimeError as e:
    message = str(e)
    if not message.startswith("RESOURCE_EXHAUSTED"):
      raise
    seconds = time.perf_counter() - began
    return dataclasses.replace(needs, refused=refused_bytes(message), seconds=seconds)
  seconds = time.perf_counter() - began

  # The loss loops over chunks of the targets that a device has; only the data decide how many it
  # has, so the loop counts its turns on average.
  shards = needs.mesh["data"] * needs.mesh["fsdp"]
  chunks = math.ceil(targets / shards / config.accumulate / config.loss_chunk)

  text = compiled.as_text()
  cost = compiled.cost_analysis()
  assert text is not None and cost is not None
  program = hlo.parse(text)
  program_collectives = collectives.collectives(text, chunks)
  return dataclasses.replace(
    needs,
    seconds=seconds,
    memory=memory_by_kind(compiled.memory_analysis(), needs.state),
    program_flops=products.product_flops(program, chunks) * len(tpu_slice.devices),
    once_flops=products.product_flops(program, loops_once=True),
    xla_flops=cost["flops"],
    collectives=collectives.totals(program_collectives),
    overlapped=collectives.overlapped_bytes(program_collectives),
    roofline=estimate(program, program_collectives, tpu_slice.kind, chunks),
  )


def state_bytes(template: state.TrainState) -> dict[str, int]:
  """Returns the bytes of one device's share of the parameters and of the optimizer.

  `template` is that of a Trainer.
  """

  def device_bytes(tree: Any) -> int:
    total = 0
    for array in jax.tree.leaves(tree):
      shard = array.sharding.shard_shape(array.shape)
      total += math.prod(shard) * array.dtype.itemsize
    return total

  return {
    "parameters": device_bytes(template.params),
    "optimizer": device_bytes(template.optimizer),
  }


def memory_by_kind(stats: Any, state: dict[str, int]) -> dict[str, int]:
  """Returns the bytes of one device by kind, from XLA's memory analysis.

  They add up to arguments + temporaries + outputs - aliases + program.
  """
  return {
    **state,
    "batch, padding of layouts": stats.argument_size_in_bytes - sum(state.values()),
    "gradients, activations, buffers": stats.temp_size_in_bytes,
    "outputs": stats.output_size_in_bytes,
    "outputs that reuse arguments": -stats.alias_size_in_bytes,
    "program": stats.generated_code_size_in_bytes,
  }


def refused_bytes(message: str) -> int:
  """Returns the bytes that a program needed which XLA refused to compile.

  Messages are "... (640.00G) exceeds available HBM (15.48G)" and the like.

  Raises:
    GatoError: The message has no such figure.
  """
  match = re.search(r"\(([\d.]+)([BKMGT])\) exceeds available|Used ([\d.]+)([BKMGT]) of", message)
  if not match:
    first_line = message.splitlines()[0]
    raise GatoError(f"XLA ran out of memory and does not say by how much: {first_line}")

  # One of the two alternatives has matched, so two of the four groups are None.
  number, unit = (group for group in match.groups() if group)
  return int(float(number) * _UNITS[unit])
