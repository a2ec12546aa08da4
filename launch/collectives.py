"""What a compiled program sends between devices: kind, bytes and times of every collective, from its text.

How it is counted:
- `times` is how often it runs in one call of the program: the turns of the loops around it, multiplied. A loop whose
  turns only the data decide counts `unknown_trips` turns; all branches of a conditional count.
- An asynchronous collective counts at its start, not at its end; one that XLA has cut into pieces and fused with other
  work (TPU: the pieces share a `chain_id`) counts once.
- A TPU fusion "all-reduce-scatter" is a reduce-scatter, whatever its inner instruction is called.
- `bytes` is the whole array that a group of devices works on: what all-gather gives, what all-reduce and reduce-scatter
  add up; of all-to-all and collective-permute, what one device gives away. On a ring of n devices each sends
  (n-1)/n of it, for an all-reduce twice that.
- XLA may turn a gather and the product behind it into a loop of collective-permutes ("windowed einsum").
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
  """bytes: of one run. times: runs in one call of the program. group: devices together. where: JAX's op."""

  kind: str
  bytes: int
  times: int
  group: int
  where: str


def collectives(hlo_text: str, unknown_trips: int = 1) -> list[Collective]:
  """All collectives of a compiled program, in no particular order (the rules: above).

  Args:
    hlo_text: `compiled.as_text()`.
    unknown_trips: turns of a loop whose number the program does not hold.
  """
  devices = _count(r"\breplica_count=(\d+)", hlo_text) * _count(r"\bnum_partitions=(\d+)", hlo_text)
  found: list[Collective] = []
  chains: set[tuple[str, int, str]] = set()
  for visit in hlo.walk(hlo.parse(hlo_text), unknown_trips):
    kind = visit.instruction.opcode.removesuffix("-start")
    if kind not in KINDS:
      continue
    chain = re.search(r'chain_id="([^"]*)"', visit.instruction.attributes)
    if visit.fusion and chain:
      key = visit.caller, visit.times, chain[1]
      if key in chains:
        continue
      chains.add(key)
    if visit.fusion and visit.fusion.attribute("calls").startswith("all-reduce-scatter"):
      kind = "reduce-scatter"
    found.append(_collective(kind, visit, devices))
  return found


def totals(found: list[Collective]) -> dict[str, tuple[int, int]]:
  """kind -> (runs, bytes of all runs), the largest first."""
  sums: dict[str, tuple[int, int]] = {}
  for c in found:
    runs, size = sums.get(c.kind, (0, 0))
    sums[c.kind] = runs + c.times, size + c.bytes * c.times
  return dict(sorted(sums.items(), key=lambda item: -item[1][1]))


def _collective(kind: str, visit: hlo.Visit, devices: int) -> Collective:
  instruction = visit.instruction
  operands = instruction.operands[:1] if kind == "collective-permute" else instruction.operands
  size = sum(hlo.shape_bytes(visit.siblings[name].shape) for name in operands)
  group = _group(instruction.attributes, devices)
  where = re.search(r'op_name="([^"]*)"', instruction.attributes)
  size *= group if kind == "all-gather" else 1
  return Collective(kind, size, visit.times, group, where[1] if where else "")


def _group(attributes: str, devices: int) -> int:
  """Devices of one group, in any of the three ways in which XLA writes groups."""
  pairs = re.search(r"\bsource_target_pairs=\{(.*?\})\}", attributes)
  if pairs:
    return pairs[1].count("{")
  listed = re.search(r"\breplica_groups=\{\{([\d,]*)\}", attributes)
  if listed:
    return len(listed[1].split(","))
  iota = re.search(r"\breplica_groups=\[\d+,(\d+)\]", attributes)
  if iota:
    return int(iota[1])
  mesh = re.search(r"\breplica_groups=mesh\[([^\]]*)\][^{]*\{([^}]*)\}", attributes)
  if mesh:
    sizes = {name: int(size) for name, size in re.findall(r"'([^']+)'=(\d+)", mesh[1])}
    size = 1
    for name, part in re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", mesh[2]):
      size *= int(part) if part else sizes[name]
    return size
  return devices


def _count(pattern: str, text: str) -> int:
  found = re.search(pattern, text.split("\n", 1)[0])
  return int(found[1]) if found else 1
