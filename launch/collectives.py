"""Data that a compiled program sends between devices: every collective, read from its text.

Rules of counting:
- `times` is the number of runs in one call of the program: the turns of the loops around it,
  multiplied. A loop whose turns only the data decide counts `unknown_trips` turns; all branches of
  a conditional count.
- An asynchronous collective counts at its start, not at its end. One that XLA has cut into pieces
  and fused with other work (TPU: the pieces share a `chain_id`) counts once.
- A TPU fusion "all-reduce-scatter" is a reduce-scatter, whatever its inner instruction is called.
- `bytes` is the whole array that a group of devices works on: the result of all-gather, the summed
  array of all-reduce and reduce-scatter; of all-to-all and collective-permute, the bytes that one
  device gives away. On a ring of n devices each sends (n-1)/n of it, for an all-reduce twice that.
- XLA may turn a gather and the product behind it into a loop of collective-permutes ("windowed
  einsum").
"""

import re
from typing import NamedTuple

from launch import hlo

KINDS = (
  "all-reduce",
  "reduce-scatter",
  "all-gather",
  "all-to-all",
  "ragged-all-to-all",
  "collective-permute",
  "collective-broadcast",
)


class Collective(NamedTuple):
  """One collective.

  Attributes:
    kind: One of KINDS.
    bytes: Bytes of one run.
    times: Runs in one call of the program.
    group: Number of devices that work together.
    where: JAX's name of the operation.
    overlapped: True where the devices compute meanwhile: an asynchronous one, or one whose pieces
      are fused with other work.
  """

  kind: str
  bytes: int
  times: int
  group: int
  where: str
  overlapped: bool = False


def collectives(hlo_text: str, unknown_trips: int = 1) -> list[Collective]:
  """Returns all collectives of a compiled program, in no particular order.

  Args:
    hlo_text: `compiled.as_text()`.
    unknown_trips: Turns of a loop whose number the program does not hold.
  """
  replicas = _header_count(r"\breplica_count=(\d+)", hlo_text)
  partitions = _header_count(r"\bnum_partitions=(\d+)", hlo_text)
  devices = replicas * partitions

  result: list[Collective] = []
  seen_chains: set[tuple[str, int, str]] = set()
  for visit in hlo.walk(hlo.parse(hlo_text), unknown_trips):
    kind = visit.instruction.opcode.removesuffix("-start")
    if kind not in KINDS:
      continue

    # The pieces of one collective lie in several fusions of one computation.
    chain = re.search(r'chain_id="([^"]*)"', visit.instruction.attributes)
    if visit.fusion and chain:
      key = (visit.caller, visit.times, chain[1])
      if key in seen_chains:
        continue
      seen_chains.add(key)

    if visit.fusion and visit.fusion.attribute("calls").startswith("all-reduce-scatter"):
      kind = "reduce-scatter"

    is_asynchronous = (
      visit.beside or visit.instruction.opcode.endswith("-start") or bool(visit.fusion and chain)
    )
    collective = _collective(kind, visit, devices=devices)
    result.append(collective._replace(overlapped=is_asynchronous))

  return result


def overlapped_bytes(collectives: list[Collective]) -> int:
  """Returns the bytes of all runs of those that are overlapped."""
  return sum(c.bytes * c.times for c in collectives if c.overlapped)


def totals(collectives: list[Collective]) -> dict[str, tuple[int, int]]:
  """Returns kind -> (runs, bytes of all runs), the largest first."""
  sums: dict[str, tuple[int, int]] = {}
  for collective in collectives:
    runs, size = sums.get(collective.kind, (0, 0))
    size += collective.bytes * collective.times
    sums[collective.kind] = (runs + collective.times, size)

  return dict(sorted(sums.items(), key=lambda item: -item[1][1]))


def _collective(kind: str, visit: hlo.Visit, devices: int) -> Collective:
  instruction = visit.instruction
  group = _group_size(instruction.attributes, devices)

  # Further operands of a collective-permute say where in the output to write.
  operands = instruction.operands
  if kind == "collective-permute":
    operands = operands[:1]
  size = sum(hlo.shape_bytes(visit.siblings[name].shape) for name in operands)

  # The operand is one device's part of the gathered array.
  if kind == "all-gather":
    size *= group

  where = re.search(r'op_name="([^"]*)"', instruction.attributes)
  return Collective(kind, size, times=visit.times, group=group, where=where[1] if where else "")


def _group_size(attributes: str, devices: int) -> int:
  """Returns the number of devices of one group, in any of the ways in which XLA writes groups."""
  # source_target_pairs={{0,1},{1,0}}
  pairs = re.search(r"\bsource_target_pairs=\{(.*?\})\}", attributes)
  if pairs:
    return pairs[1].count("{")

  # replica_groups={{0,1},{2,3}}
  listed = re.search(r"\breplica_groups=\{\{([\d,]*)\}", attributes)
  if listed:
    return len(listed[1].split(","))

  # replica_groups=[groups,devices of a group]<=[devices]
  iota = re.search(r"\breplica_groups=\[\d+,(\d+)\]", attributes)
  if iota:
    return int(iota[1])

  # replica_groups=mesh['a'=2,'b'=4] {'a','b':(1)2}: axes of a mesh, or a part of an axis.
  mesh = re.search(r"\breplica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes)
  if mesh:
    axis_sizes = {axis: int(size) for axis, size in re.findall(r"'([^']+)'=(\d+)", mesh[1])}
    group = 1
    for axis, part in re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", mesh[2]):
      group *= int(part) if part else axis_sizes[axis]
    return group

  return devices


def _header_count(pattern: str, hlo_text: str) -> int:
  """Returns a number of the module's first line; 1 without it."""
  match = re.search(pattern, hlo_text.split("\n", 1)[0])
  return int(match[1]) if match else 1
