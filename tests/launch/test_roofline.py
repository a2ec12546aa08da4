"""The roofline of a compiled step, on programs whose bytes and products are counted by hand."""

import dataclasses

import pytest

from gato_jax.train import hardware
from launch import advice, collectives, hlo, roofline
from launch.collectives import Collective

# 1 FLOP takes a second, a byte takes 1/100: products of 4 x 4 matrices bind.
DEVICE = hardware.Device(peak_flops=1.0, memory=0, bandwidth=100.0, link_bandwidth=8.0)

# Written by hand after what XLA prints.
PROGRAM = """HloModule jit_f

%sliced (p0: f32[10,16], p1: s32[]) -> f32[1,16] {
  %p0 = f32[10,16]{1,0} parameter(0)
  %p1 = s32[] parameter(1)
  %zero = s32[] constant(0)
  ROOT %row = f32[1,16]{1,0} dynamic-slice(%p0, %p1, %zero), dynamic_slice_sizes={1,16}
}

%updated (q0: f32[10,16], q1: f32[1,16], q2: s32[]) -> f32[10,16] {
  %q0 = f32[10,16]{1,0} parameter(0)
  %q1 = f32[1,16]{1,0} parameter(1)
  %q2 = s32[] parameter(2)
  %none = s32[] constant(0)
  ROOT %stack = f32[10,16]{1,0} dynamic-update-slice(%q0, %q1, %q2, %none)
}

%multiplied (r0: f32[4,4], r1: f32[4,4]) -> f32[4,4] {
  %r0 = f32[4,4]{1,0} parameter(0)
  %r1 = f32[4,4]{1,0} parameter(1)
  ROOT %product = f32[4,4]{1,0} dot(%r0, %r1), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}

ENTRY %main (a: f32[10,16], i: s32[], m: f32[4,4]) -> f32[10,16] {
  %a = f32[10,16]{1,0} parameter(0)
  %i = s32[] parameter(1)
  %m = f32[4,4]{1,0} parameter(2)
  %row = f32[1,16]{1,0} fusion(%a, %i), kind=kLoop, calls=%sliced, metadata={op_name="jit(f)/jit(main)/decoder/dynamic_slice"}
  %fast = f32[4,4]{1,0:S(1)} fusion(%m, %m), kind=kOutput, calls=%multiplied, metadata={op_name="jit(f)/jit(main)/attention/dot_general"}
  %slow = f32[4,4]{1,0} add(%fast, %m), metadata={op_name="jit(f)/jit(main)/attention/add"}
  ROOT %out = f32[10,16]{1,0} fusion(%a, %row, %i), kind=kLoop, calls=%updated
}
"""


@pytest.fixture(scope="module")
def program():
  return hlo.parse(PROGRAM)


@pytest.mark.parametrize(
  "name, size",
  [
    ("row", 64 + 64 + 4),  # a row of the stack, and the index
    ("fast", 2 * 64),  # the result stays in the fast memory
    ("slow", 64 + 64),  # one operand is there
    ("out", 2 * 64 + 64 + 4),  # the update twice, itself and the index; the stack stays
  ],
)
def test_bytes_of_an_instruction(program, name, size):
  visits = {visit.instruction.name: visit for visit in hlo.walk(program, 1) if not visit.fusion}
  assert roofline.memory_bytes(program, visits[name]) == size


@pytest.mark.parametrize(
  "shape, size",
  [
    ("(f32[4,4]{1,0:S(1)}, f32[4,4]{1,0}, u32[]{:S(2)})", 64),  # into the fast memory
    ("(f32[4,4]{1,0}, f32[4,4]{1,0}, u32[]{:S(2)})", 128),
    ("((f32[10,16]{1,0}), f32[1,16]{1,0:S(1)}, s32[])", 64),  # a slice
  ],
)
def test_copies_ahead_of_their_use_count_what_is_moved(program, shape, size):
  opcode = "slice-start" if shape.startswith("((") else "copy-start"
  copy = hlo.Instruction("c", shape, opcode, operands=("m",), attributes="", root=False)
  visit = hlo.Visit(copy, program.computations["main"], 1, fusion=None, caller="")
  assert roofline.memory_bytes(program, visit) == size


def test_each_instruction_takes_the_longer_of_its_two_times(program):
  found = roofline.estimate(program, [], DEVICE)
  assert found.products == 2 * 4**3
  assert found.memory == pytest.approx((132 + 128 + 128 + 196) / 100)
  assert found.devices == pytest.approx(128 + (132 + 128 + 196) / 100)
  assert found.shortest == 128 and found.expected == found.devices
  assert found.bound == "products"
  assert list(found.operations)[0] == "attention/dot_general"


def test_a_slow_memory_binds(program):
  slow = dataclasses.replace(DEVICE, peak_flops=1e9)
  found = roofline.estimate(program, [], slow)
  assert found.bound == "memory" and found.shortest == pytest.approx(found.memory)


@pytest.mark.parametrize(
  "kind, seconds",
  [("all-gather", 3 / 4 * 64 / 16), ("all-reduce", 2 * 3 / 4 * 64 / 16), ("all-to-all", 0.75)],
)
def test_a_ring_sends_both_ways(kind, seconds):
  assert roofline.link_seconds(Collective(kind, 64, 1, 4, ""), DEVICE) == pytest.approx(seconds)


def test_only_what_the_devices_wait_for_is_added(program):
  alone = Collective("all-gather", 64, times=10, group=4, where="")
  beside = alone._replace(overlapped=True)
  without = roofline.estimate(program, [], DEVICE)

  assert roofline.estimate(program, [beside], DEVICE).expected == without.expected
  waiting = roofline.estimate(program, [alone], DEVICE)
  assert waiting.expected == pytest.approx(without.expected + 30)
  many = roofline.estimate(program, [alone._replace(times=100)], DEVICE)
  assert many.bound == "links"
  hidden = roofline.estimate(program, [beside._replace(times=100)], DEVICE)
  assert hidden.bound == "links" and hidden.expected == pytest.approx(300)


def test_the_programs_own_collectives_are_found_and_are_no_memory_traffic():
  text = """HloModule jit_f, replica_count=1, num_partitions=4

ENTRY %main (a: f32[16]) -> f32[64] {
  %a = f32[16]{0} parameter(0)
  ROOT %all = f32[64]{0} all-gather(%a), replica_groups={{0,1,2,3}}, dimensions={0}
}
"""
  found = roofline.estimate(hlo.parse(text), collectives.collectives(text), DEVICE)
  assert found.memory == 0 and found.exposed == pytest.approx(3 / 4 * 256 / 16)


def test_what_runs_on_other_cores_is_beside():
  text = """HloModule jit_f, replica_count=1, num_partitions=4

%summed (p: f32[16]) -> f32[16] {
  %p = f32[16]{0} parameter(0)
  ROOT %sum = f32[16]{0} all-reduce(%p), replica_groups={{0,1,2,3}}, to_apply=%add
}

ENTRY %main (a: f32[16]) -> f32[16] {
  %a = f32[16]{0} parameter(0)
  %start = ((f32[16]{0}), f32[16]{0}) call-start(%a), async_execution_thread="sparsecore", to_apply=%summed
  ROOT %done = f32[16]{0} call-done(%start)
}
"""
  (found,) = collectives.collectives(text)
  assert found.kind == "all-reduce" and found.bytes == 64 and found.overlapped
  estimate = roofline.estimate(hlo.parse(text), [found], DEVICE)
  assert estimate.exposed == 0 and estimate.hidden == pytest.approx(2 * 3 / 4 * 64 / 16)


def test_a_copy_ahead_of_its_use_costs_the_memory_alone():
  text = """HloModule jit_f

ENTRY %main (m: f32[4,4]) -> f32[4,4] {
  %m = f32[4,4]{1,0} parameter(0)
  %ahead = (f32[4,4]{1,0:S(1)}, f32[4,4]{1,0}, u32[]{:S(2)}) copy-start(%m)
  ROOT %product = f32[4,4]{1,0} dot(%m, %m), lhs_contracting_dims={1}, rhs_contracting_dims={0}
}
"""
  found = roofline.estimate(hlo.parse(text), [], DEVICE)
  assert found.memory == pytest.approx((64 + 3 * 64) / 100)
  assert found.devices == found.products == 128


def test_every_generation_has_a_link():
  tpus = {name: device for name, device in hardware.DEVICES.items() if name.startswith("TPU")}
  assert tpus and all(device.link_bandwidth for device in tpus.values())


def test_what_would_be_faster_follows_from_what_takes_the_time(program):
  needs = advice.Needs(
    mesh={"data": 4, "fsdp": 1, "model": 1},
    parameters=1,
    state={},
    model_flops=1.0,
    seconds=0.0,
    program_flops=1.5,
  )
  config = advice.loop.TrainConfig(steps=1)
  assert advice.faster(needs, config) == []  # XLA refused

  scores = dataclasses.replace(needs, roofline=roofline.estimate(program, [], DEVICE))
  (attention, remat) = advice.faster(scores, config)
  assert "attention_block" in attention and "1.50 times" in remat
