"""The Pallas kernel compiled for TPUs that need not be there, alone and in a sharded step."""

import dataclasses

import pytest

from benchmarks import attention as layer_benchmark
from gato_jax import model
from gato_jax.model import attention_choice, sharding
from gato_jax.train import optimizer, step
from launch import compiled_step, hlo, products, slices

# A minute of XLA for TPUs altogether.
pytestmark = [pytest.mark.slow, pytest.mark.alone]  # the slices' libtpu sets JAX's platform

KERNELS = ("relative_attention/pallas_call", "relative_attention_gradient/pallas_call")
SLICES = ("v5e:2x2", "v5p:2x2x1", "v6e:2x2", "tpu7x:2x2x1")


def test_every_generation_that_auto_trusts_is_compiled_here():
  kinds = {slices.describe(name).devices[0].device_kind for name in SLICES}
  assert kinds == set(attention_choice.COMPILED_FOR)


@pytest.mark.parametrize("slice_name", SLICES)
@pytest.mark.parametrize("size", ["gato_79m", "gato_364m"])  # 24 heads of 32, 12 of 128
def test_a_layer_reads_and_writes_less(slice_name, size):
  device = slices.describe(slice_name).devices[0]
  rows = {}
  for name, changes in layer_benchmark.choices("tpu").items():
    config = dataclasses.replace(model.variant(size), **changes)
    program = layer_benchmark.compiled(config, rows=2, length=1024, device=device)
    rows[name] = layer_benchmark.program_row(program, None)
    text = program.as_text()
    assert all((kernel in text) == (name == "pallas") for kernel in KERNELS)

  plain, fused = rows["xla"], rows["pallas"]
  assert fused["bytes"] < 0.5 * plain["bytes"]
  # No array of all scores: neither in float32 nor in bfloat16.
  assert fused["temporary_bytes"] < 2 * 2 * config.heads * 1024 * 1024


def test_a_generation_without_the_rotation_takes_the_plain_way():
  config = model.variant("gato_79m")
  device = slices.describe("v4:2x2x1").devices[0]
  program = layer_benchmark.compiled(config, rows=1, length=128, device=device)
  assert KERNELS[0] not in program.as_text()


@pytest.mark.parametrize("mesh", [(2, 2, 1), (1, 1, 2)])
def test_a_sharded_step_has_the_kernels(mesh):
  """Heads are split over model, rows over data and fsdp; the forward kernel runs once a block."""
  config = model.GatoConfig(
    layers=2, heads=8, width=256, feed_forward=512, key_size=32, patch_channels=32
  )
  config = dataclasses.replace(config, attention="pallas")
  devices = slices.describe("v5e:2x2").devices[: mesh[0] * mesh[1] * mesh[2]]
  trainer = step.Trainer(
    config,
    optimizer.OptimizerConfig(),
    sharding.make_mesh(*mesh, devices=devices),
    components=1,
    loss_chunk=64,
  )
  shapes = compiled_step.Shapes(rows=8, length=256, patches=2, targets=12, components=1)
  program = hlo.parse(trainer.lower(shapes.batch()).compile().as_text())

  calls = [
    (visit.times, visit.instruction)
    for visit in hlo.walk(program, 1)
    if "tpu_custom_call" in visit.instruction.attributes
  ]
  for kernel in KERNELS:
    # Not computed again in the backward pass: its output and sums are kept.
    assert [times for times, call in calls if kernel in call.attributes] == [config.layers]

  # 3 products forward and 8 backward, of a head in the one tile of 256 x 256.
  rows_and_heads = 8 * config.heads / len(devices)
  stated = sum(
    times * products.of_instruction(hlo.Visit(call, {}, 1, None, "")) for times, call in calls
  )
  assert stated == config.layers * rows_and_heads * 11 * 2 * config.key_size * 256**2
