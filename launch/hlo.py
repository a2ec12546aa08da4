"""Reads the text of a compiled XLA program, `compiled.as_text()`.

Instructions, calls between computations, and the number of turns of loops.
"""

import dataclasses
import math
import re
from collections.abc import Iterator

_COMPUTATION = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{")
_NAME = re.compile(r"%([\w.\-]+)")
_ARRAY = re.compile(r"\b(pred|bf16|c64|c128|token|[suf]\d+)(\w*)\[([\d,]*)\]")
_CALLED = re.compile(r"\b(?:calls|to_apply|body|true_computation|false_computation)=%?([\w.\-]+)")
_BRANCHES = re.compile(r"\bbranch_computations=\{([^}]*)\}")

# Instructions that have the value of their operand.
_SAME_VALUE = ("copy", "bitcast", "convert", "bitcast-convert", "opt-barrier")

# Start a computation beside the instructions that follow, on TPU7x on its sparse cores.
_ASYNCHRONOUS = ("async-start", "call-start")

# Bits of an element whose type does not say so by its number alone.
_BITS = {"pred": 8, "bf16": 16, "c64": 64, "c128": 128, "token": 0}


@dataclasses.dataclass(frozen=True)
class Instruction:
  """One line of a computation.

  Attributes:
    name: Name of its value.
    shape: Shape as printed: "f32[8,128]{1,0}", or a tuple of these.
    opcode: "add", "fusion", "while", ...
    operands: Names of the operands; of a constant or a parameter, the text in the parentheses.
    attributes: The rest of the line.
    root: True when the computation returns it.
  """

  name: str
  shape: str
  opcode: str
  operands: tuple[str, ...]
  attributes: str
  root: bool

  def attribute(self, name: str) -> str:
    """Returns the name that an attribute gives: "region_1" of `body=%region_1`; "" without it."""
    match = re.search(rf"\b{name}=%?([\w.\-]+)", self.attributes)
    return match[1] if match else ""

  @property
  def called(self) -> list[str]:
    """Computations that this runs once (the body of a loop: once a turn)."""
    branches = _BRANCHES.search(self.attributes)
    names = _NAME.findall(branches[1]) if branches else []

    # Other opcodes, such as reduce, apply their computation to single elements.
    if self.opcode in ("fusion", "call", "while", "conditional", *_ASYNCHRONOUS):
      names += _CALLED.findall(self.attributes)

    return names


@dataclasses.dataclass(frozen=True)
class Visit:
  """One instruction where it runs.

  Attributes:
    instruction: The instruction.
    siblings: Instructions of its computation, by name.
    times: Runs in one call of the program.
    fusion: The fusion that it is inside of, if any.
    caller: Name of the computation that called its computation; "" in the entry.
    beside: True where it runs beside the instructions of the computation that started it.
  """

  instruction: Instruction
  siblings: dict[str, Instruction]
  times: int
  fusion: Instruction | None
  caller: str
  beside: bool = False


@dataclasses.dataclass(frozen=True)
class Program:
  """A compiled program.

  Attributes:
    computations: Name -> instruction name -> instruction.
    entry: Name of the computation that runs.
  """

  computations: dict[str, dict[str, Instruction]]
  entry: str


def parse(text: str) -> Program:
  """Parses a program.

  Raises:
    ValueError: No ENTRY computation, or a line that is no instruction.
  """
  computations: dict[str, dict[str, Instruction]] = {}
  entry = None
  current = None
  for line in text.splitlines():
    if line.startswith("}"):
      current = None
    elif current is not None and " = " in line:
      instruction = _parse_instruction(line)
      current[instruction.name] = instruction
    # The module's own line looks like the header of a computation.
    elif (header := _COMPUTATION.match(line)) and not line.startswith("HloModule"):
      current = computations[header[2]] = {}
      entry = header[2] if header[1] else entry

  if entry is None:
    raise ValueError("no ENTRY computation: is this the text of a compiled program?")

  return Program(computations, entry)


def walk(program: Program, unknown_trips: int) -> Iterator[Visit]:
  """Yields every instruction that runs, with the turns of the loops around it multiplied.

  A loop whose turns only the data decide counts `unknown_trips`; all branches of a conditional
  count.
  """

  def computation(
    name: str, times: int, fusion: Instruction | None, caller: str, beside: bool
  ) -> Iterator[Visit]:
    instructions = program.computations[name]
    for instruction in instructions.values():
      yield Visit(instruction, instructions, times, fusion, caller=caller, beside=beside)

      turns = 1
      if instruction.opcode == "while":
        known = trip_count(program, name, instruction)
        turns = unknown_trips if known is None else known

      inside = instruction if instruction.opcode == "fusion" else fusion
      is_beside = beside or instruction.opcode in _ASYNCHRONOUS
      for called in instruction.called:
        yield from computation(called, times * turns, inside, caller=name, beside=is_beside)

  yield from computation(program.entry, 1, fusion=None, caller="", beside=False)


def _parse_instruction(line: str) -> Instruction:
  """Parses `ROOT %name = shape opcode(operands), attributes`."""
  left, right = line.strip().split(" = ", 1)

  # A tuple's shape is in parentheses and holds spaces.
  end = _closing(right, 0) + 1 if right.startswith("(") else right.index(" ")
  shape = right[:end]
  rest = right[end:].lstrip()

  opening = rest.index("(")
  closing = _closing(rest, opening)
  opcode = rest[:opening]
  inside = rest[opening + 1 : closing]

  # The value of a constant and the number of a parameter are no names.
  operands = tuple(_NAME.findall(inside))
  if opcode in ("constant", "parameter"):
    operands = (inside,)

  name = _NAME.search(left)
  assert name is not None, line
  return Instruction(
    name[1],
    shape,
    opcode=opcode,
    operands=operands,
    attributes=rest[closing + 1 :],
    root=left.startswith("ROOT "),
  )


def _closing(text: str, opening: int) -> int:
  """Returns the index of the parenthesis that closes the one at `opening`."""
  depth = 0
  for i in range(opening, len(text)):
    depth += (text[i] == "(") - (text[i] == ")")
    if not depth:
      return i

  raise ValueError(f"unbalanced parentheses: {text[:80]!r}")


def dimensions(shape: str) -> list[int]:
  """Returns the sizes of an array's dimensions."""
  array = _ARRAY.search(shape)
  assert array is not None, shape
  return [int(size) for size in array[3].split(",") if size]


def shape_bytes(shape: str) -> int:
  """Returns the bytes of all arrays of a shape, tuples included.

  The padding of tiled layouts does not count.
  """
  total = 0.0
  # The rest of a type's name is ignored: f8e4m3fn is an f8.
  for kind, _, sizes in _ARRAY.findall(shape):
    bits = _BITS.get(kind) or int(re.sub(r"\D", "", kind) or 0)
    elements = math.prod(int(size) for size in sizes.split(",") if size)
    total += bits / 8 * elements

  # Types of 4 bits may end in half a byte.
  return math.ceil(total)


def trip_count(program: Program, computation: str, loop: Instruction) -> int | None:
  """Returns the turns of a `while` of this computation; None where only the data decide.

  XLA notes the count in `known_trip_count` for CPUs and GPUs. For TPUs it is read from the counter:
  a constant at the start, a constant step in the body, and the condition `counter < constant`.
  """
  noted = re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)
  if noted:
    return int(noted[1])

  condition = program.computations[loop.attribute("condition")]
  body = program.computations[loop.attribute("body")]
  outside = program.computations[computation]

  # The comparison may be a fusion, with the counter and perhaps the bound as parameters: these are
  # replaced by the arguments of the fusion.
  compare = _root(condition)
  if compare.opcode == "fusion":
    inner = program.computations[compare.attribute("calls")]
    inner_root = _root(inner)
    operands = tuple(_resolve(inner, compare, name) for name in inner_root.operands)
    compare = dataclasses.replace(inner_root, operands=operands)
    condition = {**inner, **condition}

  if compare.opcode != "compare" or "direction=LT" not in compare.attributes:
    return None

  counter, bound = (_source(condition, name) for name in compare.operands)
  if counter.opcode != "get-tuple-element":
    return None

  # The loop carries a tuple; the counter is one of its elements.
  match = re.search(r"\bindex=(\d+)", counter.attributes)
  assert match is not None, counter
  index = int(match[1])

  stop = _constant(bound)
  first_tuple = _source(outside, loop.operands[0])
  next_tuple = _root(body)
  if stop is None or first_tuple.opcode != "tuple" or next_tuple.opcode != "tuple":
    return None

  start = _constant(_source(outside, first_tuple.operands[index]))
  step = _advance(program, body, name=next_tuple.operands[index], index=index)
  if start is None or not step:
    return None

  # (stop - start) / step, rounded up.
  return max(0, -((start - stop) // step))


def _root(computation: dict[str, Instruction]) -> Instruction:
  return next(i for i in computation.values() if i.root)


def _source(computation: dict[str, Instruction], name: str) -> Instruction:
  """Returns the instruction whose value `name` has, behind copies and casts."""
  instruction = computation[name]
  while instruction.opcode in _SAME_VALUE:
    instruction = computation[instruction.operands[0]]

  return instruction


def _constant(instruction: Instruction) -> int | None:
  """Returns the value of an integer constant, else None."""
  if instruction.opcode != "constant" or not re.fullmatch(r"-?\d+", instruction.operands[0]):
    return None

  return int(instruction.operands[0])


def _resolve(inner: dict[str, Instruction], fusion: Instruction, name: str) -> str:
  """Returns the fusion's argument for `name`, if that is a parameter of its computation."""
  instruction = _source(inner, name)
  if instruction.opcode != "parameter":
    return name

  return fusion.operands[int(instruction.operands[0])]


def _advance(program: Program, body: dict[str, Instruction], name: str, index: int) -> int | None:
  """Returns the amount that `name` adds to the loop's counter, or None without a fixed amount.

  The counter is element `index` of the body's parameter.
  """
  instruction = _source(body, name)
  if instruction.opcode == "get-tuple-element":
    source = _source(body, instruction.operands[0])
    is_counter = re.search(rf"\bindex={index}\b", instruction.attributes)
    return 0 if source.opcode == "parameter" and is_counter else None

  if instruction.opcode == "add":
    left, right = instruction.operands
    for counter, amount in ((left, right), (right, left)):
      before = _advance(program, body, name=counter, index=index)
      step = _constant(_source(body, amount))
      if before is not None and step is not None:
        return before + step
    return None

  if instruction.opcode == "fusion":
    return _advance_of_fusion(program, body, fusion=instruction, index=index)

  return None


def _advance_of_fusion(
  program: Program, body: dict[str, Instruction], fusion: Instruction, index: int
) -> int | None:
  """Returns `_advance` of a fusion that adds a constant to one of its parameters."""
  inner = program.computations[fusion.attribute("calls")]
  root = _source(inner, _root(inner).name)
  if root.opcode != "add":
    return None

  operands = [_source(inner, name) for name in root.operands]
  constants = [value for value in map(_constant, operands) if value is not None]
  others = [operand for operand in operands if _constant(operand) is None]
  if len(others) != 1 or others[0].opcode != "parameter":
    return None

  argument = fusion.operands[int(others[0].operands[0])]
  before = _advance(program, body, name=argument, index=index)
  return None if before is None else before + constants[0]
