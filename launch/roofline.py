"""Roofline of a compiled training step, instruction by instruction.

Each instruction that runs by itself (XLA fuses others into it) takes the longer of two times: its
products at the peak of the device, and the bytes that it reads from and writes to the device's
memory at that memory's bandwidth. A collective takes its bytes over the links of its group; one
during which the devices compute counts only as far as it is longer than that.

What is left out makes the real step slower: products that do not fill the matrix units, other
arithmetic (exponentials, norms) beside its bytes, and waiting. `benchmarks/roofline.py` compares
the method with steps that were measured.

Rules of counting bytes:
- An operand that a fusion only slices counts with the slice, and one that it updates in place not
  at all; the update counts once read and once written.
- Arrays in a TPU's fast memory, S(1) in their layout, cost nothing. What is copied there ahead of
  its use, asynchronously, counts where it is copied.
"""

import collections
import dataclasses
import re
from collections.abc import Iterable

from gato_jax.train.hardware import Device
from launch import hlo, products
from launch.collectives import KINDS, Collective

# These have no cost of their own.
_FREE = {
  *("parameter", "constant", "tuple", "get-tuple-element", "bitcast", "while", "conditional"),
  *("call", "after-all", "opt-barrier", "iota", "partition-id", "replica-id", "broadcast"),
  *("async-start", "async-update", "async-done", "call-start", "call-done"),
  *("copy-done", "slice-done", "dynamic-slice-done"),
}
# Copies ahead of their use, which run beside the instructions.
_COPIES_AHEAD = ("copy-start", "slice-start", "dynamic-slice-start")
_ARRAY = re.compile(r"\b((?:pred|bf16|c64|c128|[suf]\d+)\w*\[[\d,]*\])(\{[^}]*\})?")
_SLICES = ("dynamic-slice", "slice", "gather")
# How often the bytes of a collective go around its ring, where that is not once.
_LINK_PASSES = {"all-reduce": 2.0, "all-to-all": 0.25}


@dataclasses.dataclass(frozen=True)
class Roofline:
  """Least times of one step on one device, in seconds.

  Attributes:
    products: Of the matrix products, at the peak.
    memory: Of the bytes, at the memory's bandwidth.
    devices: Of products and memory, the longer of the two for each instruction.
    exposed: Of collectives during which the devices do not compute.
    hidden: Of the other collectives.
    operations: JAX's name of an operation -> seconds of its instructions, the longest first.
  """

  products: float
  memory: float
  devices: float
  exposed: float
  hidden: float
  operations: dict[str, float]

  @property
  def shortest(self) -> float:
    """Products, memory and links all busy at once, but for what XLA says is one after another."""
    return max(self.products, self.memory, self.hidden) + self.exposed

  @property
  def expected(self) -> float:
    """One instruction after the other, as a device runs them."""
    return max(self.devices, self.hidden) + self.exposed

  @property
  def bound(self) -> str:
    """The largest of the three: "products", "memory" or "links"."""
    waits_for_links = self.hidden > self.devices
    times = {
      "products": self.products,
      "memory": self.devices - self.products,
      "links": self.exposed + (self.hidden if waits_for_links else 0.0),
    }
    return max(times, key=lambda name: times[name])


def estimate(
  program: hlo.Program, collectives: Iterable[Collective], device: Device, unknown_trips: int = 1
) -> Roofline:
  """Returns the roofline of a compiled program.

  Args:
    program: The program of one device.
    collectives: Those of the program.
    device: Peak, bandwidth and links of the device.
    unknown_trips: Turns of a loop whose number only the data decide (hlo.walk).
  """
  product_seconds, memory_seconds, device_seconds = 0.0, 0.0, 0.0
  operations: dict[str, float] = collections.defaultdict(float)

  for visit in hlo.walk(program, unknown_trips):
    instruction = visit.instruction
    if visit.fusion or instruction.opcode in _FREE or _is_collective(instruction):
      continue

    compute = visit.times * _flops(program, visit) / device.peak_flops
    memory = visit.times * memory_bytes(program, visit) / device.bandwidth
    product_seconds += compute
    memory_seconds += memory

    seconds = max(compute, memory)
    # What runs beside the instructions costs the memory's time alone.
    if instruction.opcode not in _COPIES_AHEAD and not visit.beside:
      device_seconds += seconds
    operations[_operation(instruction)] += seconds

  exposed = hidden = 0.0
  for collective in collectives:
    seconds = collective.times * link_seconds(collective, device)
    if collective.overlapped:
      hidden += seconds
    else:
      exposed += seconds

  return Roofline(
    products=product_seconds,
    memory=memory_seconds,
    devices=max(device_seconds, memory_seconds),
    exposed=exposed,
    hidden=hidden,
    operations=dict(sorted(operations.items(), key=lambda item: -item[1])),
  )


def link_seconds(collective: Collective, device: Device) -> float:
  """Returns the least time of one run of a collective on a ring, in both directions.

  On a ring of n devices each sends (n - 1) / n of the bytes, half of them each way.
  """
  if not device.link_bandwidth or collective.group < 2:
    return 0.0

  passes = _LINK_PASSES.get(collective.kind, 1.0)
  share = (collective.group - 1) / collective.group
  return passes * share * collective.bytes / (2 * device.link_bandwidth)


def memory_bytes(program: hlo.Program, visit: hlo.Visit) -> float:
  """Returns the bytes that one run of an instruction reads and writes."""
  instruction, siblings = visit.instruction, visit.siblings
  output = _bytes(instruction.shape)
  operands = [_bytes(siblings[name].shape) for name in instruction.operands if name in siblings]

  match instruction.opcode:
    case "dynamic-slice" | "slice" | "gather":
      return 2 * output
    case "dynamic-update-slice":
      return 2 * operands[1]
    case "scatter":
      return 2 * operands[-1] + sum(operands[1:-1])
    case "copy-start" | "slice-start" | "dynamic-slice-start":
      # A tuple of the copy, its source and a context, which is a number. A slice is the smaller.
      arrays = [array for array in _arrays(instruction.shape) if hlo.dimensions(array)]
      moved = min(map(hlo.shape_bytes, arrays), default=0)
      return float(moved * sum("S(1)" not in array for array in arrays))
    case "fusion":
      return _fusion_bytes(program, visit)
    case _:
      return output + sum(operands)


def _fusion_bytes(program: hlo.Program, visit: hlo.Visit) -> float:
  inner = program.computations[visit.instruction.attribute("calls")]
  users: dict[str, list[hlo.Instruction]] = collections.defaultdict(list)
  for instruction in inner.values():
    for name in instruction.operands:
      users[name].append(instruction)

  total = 0.0
  for parameter in inner.values():
    if parameter.opcode != "parameter":
      continue
    operand = visit.instruction.operands[int(parameter.operands[0])]
    size = _bytes(visit.siblings[operand].shape)
    total += min(size, _read_of(parameter, users)) if size else 0.0

  (root,) = (instruction for instruction in inner.values() if instruction.root)
  results = [inner[name] for name in root.operands] if root.opcode == "tuple" else [root]
  shapes = _arrays(visit.instruction.shape)
  for result, shape in zip(results, shapes, strict=len(results) == len(shapes)):
    written = _bytes(shape)
    if result.opcode == "dynamic-update-slice" and written:
      written = min(written, 2 * hlo.shape_bytes(inner[result.operands[1]].shape))
    total += written

  return total


def _read_of(parameter: hlo.Instruction, users: dict[str, list[hlo.Instruction]]) -> float:
  """Returns the bytes of a fusion's parameter that it reads at most."""
  total = 0.0
  for user in users[parameter.name]:
    if user.opcode in _SLICES and user.operands[0] == parameter.name:
      total += hlo.shape_bytes(user.shape)
    elif user.opcode == "dynamic-update-slice" and user.operands[0] == parameter.name:
      continue
    elif user.opcode == "bitcast":
      total += _read_of(user, users)
    else:
      return float("inf")

  return total


def _flops(program: hlo.Program, visit: hlo.Visit) -> float:
  """Returns the FLOPs of the products of an instruction and of what is fused into it."""
  if visit.instruction.opcode != "fusion":
    return products.of_instruction(visit)

  inner = program.computations[visit.instruction.attribute("calls")]
  return sum(
    _flops(program, hlo.Visit(instruction, inner, 1, visit.instruction, ""))
    for instruction in inner.values()
  )


def _arrays(shape: str) -> list[str]:
  """Returns the arrays of a shape, with their layouts."""
  return [match[0] for match in _ARRAY.finditer(shape)]


def _bytes(shape: str) -> float:
  """Returns the bytes of the arrays of a shape that lie in the device's main memory."""
  return float(sum(hlo.shape_bytes(array) for array in _arrays(shape) if "S(1)" not in array))


def _is_collective(instruction: hlo.Instruction) -> bool:
  return instruction.opcode.removesuffix("-start").removesuffix("-done") in KINDS


def _operation(instruction: hlo.Instruction) -> str:
  """Returns the end of JAX's name of an operation, without what jit, scan and grad add to it."""
  match = re.search(r'op_name="([^"]*)"', instruction.attributes)
  if not match:
    return instruction.opcode

  parts = [part for part in match[1].split("/") if not re.search(r"\(|while|body|closed", part)]
  return "/".join(parts[-2:]) or instruction.opcode
