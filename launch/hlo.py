"""Reads the text of a compiled XLA program, `compiled.as_text()`: instructions, calls, how often loops turn."""

import dataclasses
import math
import re
from collections.abc import Iterator

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{")
_NAME = re.compile(r"%([\w.\-]+)")
_ARRAY = re.compile(r"\b(pred|bf16|c64|c128|token|[suf]\d+)(\w*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")
_SAME_VALUE = ("copy", "bitcast", "convert", "bitcast-convert", "opt-barrier")


@dataclasses.dataclass(frozen=True)
class Instruction:
  """shape: as printed. operands: names; of a constant, its literal. attributes: the rest of the line."""

  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  attributes: str
  root: bool

  def attribute(self, name: str) -> str | None:
    """The name that attribute `name` gives: `body=%region_1`."""
    found = re.search(rf"\b{name}=%?([\w.\-]+)", self.attributes)
    return found and found[1]

  @property
  def called(self) -> list[str]:
    """Computations that this runs once (a loop's body: once a turn)."""
    branches = _BRANCHES.search(self.attributes)
    names = _NAME.findall(branches[1]) if branches else []
    if self.opcode in ("fusion", "call", "while", "conditional", "async-start"):
      names += _CALLED.findall(self.attributes)
    return names


@dataclasses.dataclass(frozen=True)
class Visit:
  """One instruction in its place. times: runs in one call of the program. fusion: the fusion that it is inside of."""

  instruction: Instruction
  siblings: dict[str, Instruction]
  times: int
  fusion: Instruction | None
  caller: str


@dataclasses.dataclass(frozen=True)
class Program:
  """computations: name -> instruction name -> instruction. entry: the computation that runs."""

  computations: dict[str, dict[str, Instruction]]
  entry: str


def parse(text: str) -> Program:
  """
  Raises:
    ValueError: no ENTRY computation, or a line that is no instruction.
  """
  computations: dict[str, dict[str, Instruction]] = {}
  entry = current = None
  for line in text.splitlines():
    if line.startswith("}"):
      current = None
    elif current is not None and " = " in line:
      instruction = _instruction(line)
      current[instruction.name] = instruction
    elif (header := _COMPUTATION.match(line)) and not line.startswith("HloModule"):
      current = computations[header[2]] = {}
      entry = header[2] if header[1] else entry
  if entry is None:
    raise ValueError("no ENTRY computation: is this the text of a compiled program?")
  return Program(computations, entry)


def walk(program: Program, unknown_trips: int) -> Iterator[Visit]:
  """Every instruction that runs, with the turns of the loops around it multiplied.

  A loop whose turns only the data decide counts `unknown_trips`; all branches of a conditional count.
  """

  def computation(name: str, times: int, fusion: Instruction | None, caller: str) -> Iterator[Visit]:
    instructions = program.computations[name]
    for instruction in instructions.values():
      yield Visit(instruction, instructions, times, fusion, caller)
      turns = 1
      if instruction.opcode == "while":
        turns = trip_count(program, name, instruction)
        turns = unknown_trips if turns is None else turns
      for called in instruction.called:
        yield from computation(called, times * turns, instruction if instruction.opcode == "fusion" else fusion, name)

  yield from computation(program.entry, 1, None, "")


def _instruction(line: str) -> Instruction:
  left, right = line.strip().split(" = ", 1)
  end = _closing(right, 0) + 1 if right.startswith("(") else right.index(" ")
  shape, rest = right[:end], right[end:].lstrip()
  opening = rest.index("(")
  closing = _closing(rest, opening)
  opcode, inside = rest[:opening], rest[opening + 1 : closing]
  operands = (inside,) if opcode in ("constant", "parameter") else tuple(_NAME.findall(inside))
  return Instruction(_NAME.search(left)[1], shape, opcode, operands, rest[closing + 1 :], left.startswith("ROOT "))


def _closing(text: str, opening: int) -> int:
  """Index of the parenthesis that closes the one at `opening`."""
  depth = 0
  for i in range(opening, len(text)):
    depth += (text[i] == "(") - (text[i] == ")")
    if not depth:
      return i
  raise ValueError(f"unbalanced parentheses: {text[:80]!r}")


def dimensions(shape: str) -> list[int]:
  """Of an array's shape."""
  return [int(d) for d in _ARRAY.search(shape)[3].split(",") if d]


def shape_bytes(shape: str) -> int:
  """Of all arrays of a shape, tuples included, without the padding of tiled layouts."""
  total = 0.0
  for kind, variant, sizes in _ARRAY.findall(shape):
    bits = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128, "token": 0}.get(kind) or int(re.sub(r"\D", "", kind) or 0)
    del variant  # f8e4m3fn is an f8
    total += bits / 8 * math.prod(int(d) for d in sizes.split(",") if d)
  return math.ceil(total)


def trip_count(program: Program, computation: str, loop: Instruction) -> int | None:
  """Turns of a `while` of this computation; None where only the data decide.

  XLA notes the count in `known_trip_count` for CPUs and GPUs; for TPUs it is read from the counter: a constant at the
  start, a constant step in the body, and the condition `counter < constant`.
  """
  noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
  if noted:
    return int(noted[1])
  condition = program.computations[loop.attribute("condition")]
  body = program.computations[loop.attribute("body")]
  compare = _root(condition)
  if compare.opcode == "fusion":  # the compare, with the counter and perhaps the bound as parameters
    inner = program.computations[compare.attribute("calls")]
    compare = dataclasses.replace(
      _root(inner), operands=tuple(_argument(inner, compare, name) for name in _root(inner).operands)
    )
    condition = {**inner, **condition}
  if compare.opcode != "compare" or "direction=LT" not in compare.attributes:
    return None
  counter, bound = (_same(condition, name) for name in compare.operands)
  if counter.opcode != "get-tuple-element":
    return None
  index = int(re.search(r"\bindex=(\d+)", counter.attributes)[1])
  stop = _constant(bound)
  start_tuple = _same(program.computations[computation], loop.operands[0])
  next_tuple = _root(body)
  if stop is None or start_tuple.opcode != "tuple" or next_tuple.opcode != "tuple":
    return None
  outside = program.computations[computation]
  start = _constant(_same(outside, start_tuple.operands[index]))
  step = _advance(program, body, next_tuple.operands[index], index)
  if start is None or not step:
    return None
  return max(0, -((start - stop) // step))


def _root(computation: dict[str, Instruction]) -> Instruction:
  return next(i for i in computation.values() if i.root)


def _same(computation: dict[str, Instruction], name: str) -> Instruction:
  """The instruction whose value `name` has, behind copies and casts."""
  instruction = computation[name]
  while instruction.opcode in _SAME_VALUE:
    instruction = computation[instruction.operands[0]]
  return instruction


def _constant(instruction: Instruction) -> int | None:
  if instruction.opcode != "constant" or not re.fullmatch(r"-?\d+", instruction.operands[0]):
    return None
  return int(instruction.operands[0])


def _argument(inner: dict[str, Instruction], call: Instruction, name: str) -> str:
  """What the fusion `call` was given for `name`, if that is a parameter of its computation."""
  instruction = _same(inner, name)
  return call.operands[int(instruction.operands[0])] if instruction.opcode == "parameter" else name


def _advance(program: Program, body: dict[str, Instruction], name: str, index: int) -> int | None:
  """What `name` adds to the loop's counter, element `index` of the body's parameter; None: no fixed amount."""
  instruction = _same(body, name)
  if instruction.opcode == "get-tuple-element":
    source = _same(body, instruction.operands[0])
    own = re.search(rf"\bindex={index}\b", instruction.attributes)
    return 0 if source.opcode == "parameter" and own else None
  if instruction.opcode == "add":
    left, right = instruction.operands
    for counter, amount in ((left, right), (right, left)):
      before, by = _advance(program, body, counter, index), _constant(_same(body, amount))
      if before is not None and by is not None:
        return before + by
    return None
  if instruction.opcode == "fusion":
    inner = program.computations[instruction.attribute("calls")]
    root = _same(inner, _root(inner).name)
    if root.opcode != "add":
      return None
    parts = [_same(inner, operand) for operand in root.operands]
    by = [_constant(part) for part in parts]
    given = [part for part, amount in zip(parts, by, strict=True) if amount is None]
    fixed = [amount for amount in by if amount is not None]
    if len(given) != 1 or given[0].opcode != "parameter":
      return None
    before = _advance(program, body, instruction.operands[int(given[0].operands[0])], index)
    return None if before is None else before + fixed[0]
  return None
