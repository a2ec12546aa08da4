"""Pre-flight on real, small slices: libtpu compiles for them here; nothing is run on a TPU."""

import functools
import importlib.util
import json
import pathlib
import subprocess
import sys

import commands
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from benchmarks import train_step
from gato_jax import model
from gato_jax.errors import GatoError
from gato_jax.train import loop, optimizer
from gato_jax.train.hardware import GIB
from launch import advice, collectives, compiled_step, hlo, preflight, preflight_table, slices

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPES = compiled_step.Shapes(rows=16, length=128, patches=0, targets=12, components=3)
pytestmark = pytest.mark.alone  # its verb defines flags that `launch submit` defines too

SMALL = model.GatoConfig(
  layers=3, heads=4, width=128, feed_forward=256, key_size=32, patch_channels=32, drop_path=0.0
)


def command(*arguments: str) -> list[str]:
  return [sys.executable, "-m", "launch", *arguments]


def run(*arguments: str) -> subprocess.CompletedProcess:
  return commands.run("launch", *arguments)


@functools.cache
def needs(scan_layers: bool) -> compiled_step.Needs:
  config = loop.TrainConfig(steps=1, mesh_fsdp=2, loss_chunk=64)
  small = model.GatoConfig(**{**SMALL.to_json(), "scan_layers": scan_layers})
  return compiled_step.compile_step(
    small, config, optimizer.OptimizerConfig(), slices.describe("v5e:2x2"), SHAPES
  )


def compiled_text(body, *arrays: jax.ShapeDtypeStruct, specs: tuple, out: tuple) -> str:
  """`body` mapped over the 4 devices of v5e:2x2, along axis "x", and compiled."""
  mesh = Mesh(np.array(slices.describe("v5e:2x2").devices), ("x",))
  program = jax.jit(jax.shard_map(body, mesh=mesh, in_specs=specs, out_specs=out, check_vma=False))
  return program.lower(*arrays).compile().as_text()


def test_collectives_in_and_out_of_a_loop_are_counted_as_often_as_they_run():
  def body(x, weights):
    def turn(x, weight):
      whole = jax.lax.all_gather(weight, "x", tiled=True)  # [256, 512]
      product = jnp.tanh(x @ whole)  # [512, 512]
      part = jax.lax.psum_scatter(product, "x", tiled=True)  # [128, 512]
      return x + jnp.tile(part, (4, 1))[:, :256], jax.lax.psum(product.sum(0), "x")

    x, sums = jax.lax.scan(turn, x, weights)
    gathered = jax.lax.all_gather(jnp.sin(x), "x", tiled=True)
    return (
      jax.lax.psum(jnp.cos(x), "x"),
      sums,
      jax.lax.psum_scatter(x @ x.T, "x", tiled=True),
      gathered,
    )

  spec = PartitionSpec
  text = compiled_text(
    body,
    jax.ShapeDtypeStruct((2048, 256), jnp.float32),
    jax.ShapeDtypeStruct((7, 256, 512), jnp.bfloat16),
    specs=(spec("x"), spec(None, "x")),
    out=(spec(), spec(), spec("x"), spec()),
  )
  found = sorted((c.kind, c.bytes, c.times, c.group) for c in collectives.collectives(text))

  assert found == [
    ("all-gather", 2 * 256 * 512, 7, 4),
    ("all-gather", 4 * 2048 * 256, 1, 4),
    ("all-reduce", 4 * 512, 7, 4),
    ("all-reduce", 4 * 512 * 256, 1, 4),
    ("reduce-scatter", 4 * 512 * 512, 1, 4),
    ("reduce-scatter", 4 * 512 * 512, 7, 4),
  ]
  scattered = collectives.totals(collectives.collectives(text))["reduce-scatter"]
  assert scattered == (8, 8 * 4 * 512 * 512)


# Written by hand after what XLA prints. A loop of 5 turns (counter from 1 to 11 in steps of 2)
# holds one all-gather in
# two fused pieces and a reduce-scatter in TPU's disguise; a loop whose turns the data decide holds
# an all-reduce.
PROGRAM = """HloModule jit_f, replica_count=1, num_partitions=8

%piece.1 (p.1: bf16[4,8]) -> bf16[32,8] {
  %p.1 = bf16[4,8]{1,0} parameter(0)
  ROOT %gather.1 = bf16[32,8]{1,0:T(8,128)} all-gather(%p.1), channel_id=3, replica_groups=[1,8]<=[8], dimensions={0}, frontend_attributes={chain_id="0"}
}

%piece.2 (p.2: bf16[4,8]) -> bf16[32,8] {
  %p.2 = bf16[4,8]{1,0} parameter(0)
  ROOT %gather.2 = bf16[32,8]{1,0:T(8,128)} all-gather(%p.2), channel_id=3, replica_groups=[1,8]<=[8], dimensions={0}, frontend_attributes={chain_id="0"}
}

%all-reduce-scatter.1 (p.3: f32[32,8]) -> f32[8,8] {
  %p.3 = f32[32,8]{1,0} parameter(0)
  %inner = f32[32,8]{1,0} all-reduce(%p.3), channel_id=4, replica_groups=mesh['a'=2,'b'=4] {'b'}, to_apply=%add
  ROOT %cut = f32[8,8]{1,0} slice(%inner), slice={[0:8], [0:8]}
}

%body (b: (s32[], bf16[4,8], f32[32,8])) -> (s32[], bf16[4,8], f32[32,8]) {
  %b = (s32[], bf16[4,8]{1,0}, /*index=2*/f32[32,8]{1,0}) parameter(0)
  %i = s32[] get-tuple-element(%b), index=0
  %two = s32[] constant(2)
  %next = s32[] add(%i, %two)
  %x = bf16[4,8]{1,0} get-tuple-element(%b), index=1
  %g = f32[32,8]{1,0} get-tuple-element(%b), index=2
  %async-collective-start = bf16[32,8]{1,0} fusion(%x), kind=kCustom, calls=%piece.1
  %async-collective-done = bf16[32,8]{1,0} fusion(%x), kind=kCustom, calls=%piece.2
  %scattered = f32[8,8]{1,0} fusion(%g), kind=kCustom, calls=%all-reduce-scatter.1
  ROOT %out = (s32[], bf16[4,8]{1,0}, f32[32,8]{1,0}) tuple(%next, %x, %g)
}

%condition (c: (s32[], bf16[4,8], f32[32,8])) -> pred[] {
  %c = (s32[], bf16[4,8]{1,0}, f32[32,8]{1,0}) parameter(0)
  %at = s32[] get-tuple-element(%c), index=0
  %stop = s32[] constant(11)
  ROOT %less = pred[] compare(%at, %stop), direction=LT
}

%data_body (d: (s32[], s32[], f32[6])) -> (s32[], s32[], f32[6]) {
  %d = (s32[], s32[], f32[6]{0}) parameter(0)
  %j = s32[] get-tuple-element(%d), index=0
  %m = s32[] get-tuple-element(%d), index=1
  %one = s32[] constant(1)
  %k = s32[] add(%j, %one)
  %v = f32[6]{0} get-tuple-element(%d), index=2
  %start = f32[6]{0} all-reduce-start(%v), channel_id=9, replica_groups={{0,1},{2,3},{4,5},{6,7}}, to_apply=%add
  %done = f32[6]{0} all-reduce-done(%start)
  ROOT %o = (s32[], s32[], f32[6]{0}) tuple(%k, %m, %done)
}

%data_condition (e: (s32[], s32[], f32[6])) -> pred[] {
  %e = (s32[], s32[], f32[6]{0}) parameter(0)
  %from = s32[] get-tuple-element(%e), index=0
  %to = s32[] get-tuple-element(%e), index=1
  ROOT %fewer = pred[] compare(%from, %to), direction=LT
}

ENTRY %main (a: bf16[4,8], h: f32[32,8], n: s32[], w: f32[6]) -> f32[6] {
  %a = bf16[4,8]{1,0} parameter(0)
  %h = f32[32,8]{1,0} parameter(1)
  %n = s32[] parameter(2)
  %w = f32[6]{0} parameter(3)
  %first = s32[] constant(1)
  %zero = s32[] constant(0)
  %t = (s32[], bf16[4,8]{1,0}, f32[32,8]{1,0}) tuple(%first, %a, %h)
  %loop = (s32[], bf16[4,8]{1,0}, f32[32,8]{1,0}) while(%t), condition=%condition, body=%body
  %u = (s32[], s32[], f32[6]{0}) tuple(%zero, %n, %w)
  %loop.2 = (s32[], s32[], f32[6]{0}) while(%u), condition=%data_condition, body=%data_body
  ROOT %r = f32[6]{0} get-tuple-element(%loop.2), index=2
}
"""  # noqa: E501


def test_fused_pieces_disguised_scatters_and_loops_of_unknown_length():
  found = collectives.collectives(PROGRAM, unknown_trips=3)
  assert sorted(c[:4] for c in found) == [
    ("all-gather", 512, 5, 8),
    ("all-reduce", 24, 3, 2),
    ("reduce-scatter", 1024, 5, 4),
  ]

  # The pieces of the gather and the all-reduce that is started run beside other work.
  assert {c.kind for c in found if c.overlapped} == {"all-gather", "all-reduce"}
  assert collectives.overlapped_bytes(found) == 512 * 5 + 24 * 3

  noted = PROGRAM.replace("body=%body", 'body=%body, backend_config={"known_trip_count":{"n":"6"}}')

  assert {c.times for c in collectives.collectives(noted)} == {6, 1}


# Slow: a minute of compiling.
@pytest.mark.slow
def test_products_of_a_scan_are_those_of_the_unrolled_layers():
  scanned, unrolled = needs(True), needs(False)
  assert scanned.program_flops == pytest.approx(unrolled.program_flops, rel=0.02)
  assert scanned.once_flops < 0.8 * unrolled.once_flops  # a loop's body once: 1 layer of 3

  for each in (scanned, unrolled):
    assert 0.9 < each.once_flops / each.xla_flops <= 1  # XLA adds the element-wise work
    assert (
      1 < each.program_flops / each.model_flops < 3
    )  # recomputed blocks and the masked half of the scores


@pytest.mark.slow  # a quarter of a minute of XLA
def test_memory_adds_up_to_what_xla_says():
  found = needs(True)
  memory, batch = found.memory, SHAPES.batch()

  assert sum(memory.values()) == found.total
  assert memory["parameters"] < 4 * found.parameters  # fsdp=2 halves most of them
  assert memory["optimizer"] == 2 * memory["parameters"] + 4

  # The gathers of parameters over fsdp are asynchronous, by train/compiler_options.py.
  assert 0 < found.overlapped < sum(size for _, size in found.collectives.values())

  rows = sum(np.prod(a.shape) * a.dtype.itemsize for a in batch.values()) / 4

  assert (
    rows < memory["batch, padding of layouts"] < memory["parameters"] + memory["optimizer"]
  )  # small arrays: tiles
  assert (
    -memory["outputs that reuse arguments"] >= memory["parameters"] + memory["optimizer"]
  )  # the state is donated


def test_the_batch_has_the_shapes_of_a_real_one():
  real = {
    name: (array.ndim, array.dtype) for name, array in train_step.control_batch(4, 36).items()
  }
  assert {name: (len(a.shape), a.dtype) for name, a in SHAPES.batch().items()} == real


# Slow: half a minute of compiling.
@pytest.mark.slow
def test_advice_is_computed_and_fits():
  place, config = (
    slices.describe("v5e:4x4"),
    loop.TrainConfig(steps=1, batch_size=256, loss_chunk=1024),
  )
  big = model.variant("gato_1b")
  shapes = compiled_step.Shapes(rows=256, length=1024, patches=920, targets=46, components=3)
  found = compiled_step.compile_step(big, config, optimizer.OptimizerConfig(), place, shapes)

  assert found.memory is None and found.total > place.kind.usable  # XLA itself refused

  changes = advice.changes(big, config, optimizer.OptimizerConfig(), place, shapes, found)

  assert changes and all(change.size < place.kind.usable for change in changes)
  assert any("train.mesh_fsdp=" in setting for change in changes for setting in change.settings)

  half = model.GatoConfig(**{**big.to_json(), "remat": "none"})

  assert advice.changes(half, config, optimizer.OptimizerConfig(), place, shapes, found)[
    0
  ].settings == ("model.remat=full",)


def test_a_refusal_without_a_figure_is_said():
  assert (
    compiled_step.refused_bytes("RESOURCE_EXHAUSTED: ... temporaries (1.50G) exceeds available HBM")
    == 1.5 * GIB
  )
  assert compiled_step.refused_bytes("RESOURCE_EXHAUSTED: Used 20.00M of 15.75G hbm.") == 20 * 2**20
  with pytest.raises(GatoError, match="does not say by how much"):
    compiled_step.refused_bytes("RESOURCE_EXHAUSTED: something else")


DUMMY = ("preflight", "--config=experiments/configs/dummy.py", "--topology=v4:2x2x1", "--json")
LARGE = (
  "preflight",
  "--config=experiments/configs/gato_1b.py",
  "--topology=v5e:2x2",
  "--config.train.batch_size=8",
  "--config.train.mesh_data=4",
  "--config.train.mesh_fsdp=1",
)


@pytest.fixture(scope="module")
def dummy():
  """Pre-flight of the dummy config, which compiles for half a minute."""
  return run(*DUMMY)


def test_a_step_that_fits(dummy):
  assert dummy.returncode == 0 and dummy.stderr.startswith("compiling dummy for v4:2x2x1 ...\n")
  found = json.loads(dummy.stdout)
  assert found["attention"] == "xla" and "plain XLA instead of pallas" in dummy.stderr

  # A v4 device is a chip: megacore.
  assert found["fits"] and found["chips"] == 4 and found["devices"] == 4
  assert found["total"] == sum(found["memory"].values()) < found["device_usable"] == 30.75 * GIB

  # The roofline's times are of the whole step, and its hours those of the run's 60 steps.
  shortest, expected = found["step_seconds"]
  assert found["roofline"]["products"] < shortest <= expected
  assert found["roofline"]["products"] >= found["program_flops"] / 4 / 275e12 * 0.999
  assert preflight.hours(found) == pytest.approx((60 * shortest / 3600, 60 * expected / 3600))
  assert 0 < preflight.utilisation(found)[0] <= preflight.utilisation(found)[1] < 1
  assert found["collectives"]["all-reduce"][0] > 0
  assert "of these bytes are sent while the devices compute" in preflight.text(found)

  printed = preflight.text(found)
  share = found["total"] / found["device_usable"]
  assert printed.endswith(f"FITS: {share:.1%} of the usable memory")

  lines = printed.split("a device     a chip\n")[1].splitlines()[:8]
  figures = [float(line[45:53]) for line in lines]

  # The rows of kinds, and the row "needed".
  assert sum(figures[:-1]) == pytest.approx(figures[-1], abs=0.004)


@pytest.mark.slow  # compiles a step of 1.2 billion parameters
def test_a_step_that_does_not_fit_ends_with_what_to_change():
  """Pre-flighted beside one that fits: libtpu must allow two processes."""
  small, large = (
    subprocess.Popen(
      command(*arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for arguments in (DUMMY, LARGE)
  )
  stdout, stderr = large.communicate(timeout=1800)
  done = subprocess.CompletedProcess(large.args, large.returncode, stdout, stderr)
  small.communicate(timeout=1800)

  assert small.returncode == 0
  assert done.returncode == 1 and len(done.stderr.splitlines()) == 1, done.stderr
  assert (
    "DOES NOT FIT: 1." in done.stdout
    and "try --config.train.mesh_data=0 --config.train.mesh_fsdp=" in done.stdout
  )


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    (["preflight", "--topology=v9:4x4"], "is no slice"),
    (["preflight", "--topology=v3:3x5"], "libtpu knows no such slice"),
    (["preflight"], "--topology=... is missing"),
    (
      ["preflight", "--topology=v5e:2x2", "--config.train.batch_size=7"],
      "does not divide among 4 devices",
    ),
    (["fly"], "unknown command 'fly'"),
  ],
)
def test_bad_input_ends_in_one_line(arguments, message):
  done = run(*arguments)
  lines = [line for line in done.stderr.splitlines() if not line.startswith("compiling")]
  assert done.returncode == 1 and len(lines) == 1 and message in lines[0], done.stderr


def test_the_table_keeps_what_is_there(tmp_path, dummy):
  now = preflight_table.sources()
  row = {
    "wall_seconds": 60.0,
    "sources": now,
    **json.loads(dummy.stdout),
    "name": "gato_79m",
    "topology": "v4:4x8x8",
  }
  failed = {
    "name": "gato_1b",
    "topology": "v3:16x16",
    "sources": now,
    "wall_seconds": 1800.0,
    "error": "stopped",
  }
  path = tmp_path / "preflight.jsonl"
  path.write_text(json.dumps(row) + "\n" + json.dumps(failed) + "\n")
  rows = preflight_table.read(path)
  assert rows["gato_79m", "v4:4x8x8"] == row
  assert len(preflight_table.missing(rows)) == 14  # all but the first, whose sources are today's

  row["sources"] = "of another day"

  assert len(preflight_table.missing({("gato_79m", "v4:4x8x8"): row})) == 15

  page = preflight_table.page(rows)
  assert "(31 minutes" in page and "failed: stopped" in page
  assert page.count("| 79m | v4:4x8x8 |") == 3  # verdict, memory, collectives


def test_jax_starts_silently():
  """libtpu lies where JAX does not look for it.

  Among the packages it would write to stderr at every start.
  """
  done = subprocess.run(
    [sys.executable, "-c", "import jax; jax.devices()"], capture_output=True, text=True
  )

  assert done.returncode == 0 and done.stderr == ""
  assert importlib.util.find_spec("libtpu") is None


def test_no_program_no_answer():
  with pytest.raises(ValueError, match="no ENTRY"):
    hlo.parse("HloModule nothing\n")
