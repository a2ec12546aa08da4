"""Levels made by reverse play: from the solved board boxes are pulled away, so all can be solved.

Cells are numbered row-major: cell = row * columns + column. Levels as text use the usual letters:
"#" wall, " " floor, "." target, "$" box, "*" box on target, "@" player, "+" player on target.
"""

import dataclasses
import random
from collections.abc import Iterable, Sequence

ACTIONS = ("up", "down", "left", "right")

# Rooms are carved by a random walk that stamps one of these (row, column) patterns at every step,
# as in Racaniere et al. 2017 (I2A, appendix), whose 10x10 boards with 4 boxes are the paper's task.
_STAMPS = (
  ((0, -1), (0, 0), (0, 1)),
  ((-1, 0), (0, 0), (1, 0)),
  ((0, 0), (1, 0), (1, 1)),
  ((0, 0), (0, 1), (1, 0), (1, 1)),
  ((0, 0), (0, 1), (-1, 0)),
)
_DIRECTIONS = ((-1, 0), (1, 0), (0, -1), (0, 1))
_TURN_PROBABILITY = 0.35  # of the carving walk, at every step


@dataclasses.dataclass(frozen=True)
class Size:
  """Limits that the levels of a task keep.

  Attributes:
    side: Cells a side, walls included.
    boxes: Number of boxes and of targets.
    steps: Time limit of an episode.
    moves: A solution of at most this many moves exists.
    displacement: The least sum of the boxes' Manhattan distances from their solved positions.
  """

  side: int
  boxes: int
  steps: int
  moves: int
  displacement: int


SIZES = {
  "boxes_1": Size(side=7, boxes=1, steps=40, moves=20, displacement=3),
  "boxes_2": Size(side=8, boxes=2, steps=80, moves=50, displacement=5),
  "boxes_4": Size(side=10, boxes=4, steps=120, moves=120, displacement=14),
}


@dataclasses.dataclass(frozen=True)
class Level:
  """A board at the beginning of an episode.

  Attributes:
    columns: Number of columns.
    walls: True for each cell that is a wall.
    targets: Cells of the targets.
    boxes: Cells of the boxes.
    player: Cell of the player.
  """

  columns: int
  walls: tuple[bool, ...]
  targets: frozenset[int]
  boxes: frozenset[int]
  player: int

  @property
  def deltas(self) -> tuple[int, int, int, int]:
    """Change of the cell number by each action."""
    return (-self.columns, self.columns, -1, 1)

  def rows(self) -> list[str]:
    """Returns the level as text, one string a row."""
    text = ""
    for cell, wall in enumerate(self.walls):
      letter = " "
      if wall:
        letter = "#"
      elif cell in self.boxes:
        letter = "$"
      elif cell == self.player:
        letter = "@"

      if cell in self.targets:
        letter = {"$": "*", "@": "+", " ": "."}[letter]
      text += letter

    return [text[i : i + self.columns] for i in range(0, len(text), self.columns)]


def parse(rows: Sequence[str]) -> Level:
  """Returns the level of a text; the inverse of Level.rows()."""
  text = "".join(rows)
  (player,) = (i for i, letter in enumerate(text) if letter in "@+")

  return Level(
    columns=len(rows[0]),
    walls=tuple(letter == "#" for letter in text),
    targets=frozenset(i for i, letter in enumerate(text) if letter in ".*+"),
    boxes=frozenset(i for i, letter in enumerate(text) if letter in "$*"),
    player=player,
  )


def generate(size: Size, seed: int) -> Level:
  """Returns the level of a seed, which is the same in every process."""
  rng = random.Random(seed)

  # One to a hundred attempts, depending on the displacement.
  while True:
    level = _attempt(size, rng)
    if level:
      return level


def distances(
  walls: Sequence[bool], boxes: Iterable[int], deltas: Iterable[int], start: int
) -> dict[int, int]:
  """Returns the walking distance to every cell that the player reaches without pushing."""
  steps, queue = {start: 0}, [start]

  # Breadth-first search: the list grows while it is read.
  for cell in queue:
    for delta in deltas:
      neighbour = cell + delta
      if neighbour not in steps and not walls[neighbour] and neighbour not in boxes:
        steps[neighbour] = steps[cell] + 1
        queue.append(neighbour)

  return steps


def _attempt(size: Size, rng: random.Random) -> Level | None:
  """Carves a room and plays backwards.

  Returns:
    The most displaced board on the way; None where none is displaced enough.
  """
  walls = _carve(size.side, rng)
  floor = [cell for cell, wall in enumerate(walls) if not wall]

  # Cramped rooms would repeat between seeds.
  if len(floor) < (size.side - 2) ** 2 // 2:
    return None

  *boxes, player = rng.sample(floor, size.boxes + 1)
  targets = list(boxes)
  deltas = (-size.side, size.side, -1, 1)

  moves = 0
  best_boxes: frozenset[int] | None = None
  best_starts: list[int] = []
  best_displacement = size.displacement - 1
  while True:
    steps = distances(walls, boxes, deltas, player)
    displacement = sum(
      _manhattan(box, target, size.side) for box, target in zip(boxes, targets, strict=True)
    )

    # A level begins without a box on any target, from where the solution is still short enough.
    if displacement > best_displacement and not set(boxes) & set(targets):
      best_boxes = frozenset(boxes)
      best_starts = sorted(cell for cell, d in steps.items() if moves + d <= size.moves)
      best_displacement = displacement

    # To pull a box by delta the player stands next to it on that side and has room to step back.
    pulls = []
    for i, box in enumerate(boxes):
      for delta in deltas:
        behind = box + 2 * delta
        if box + delta in steps and not walls[behind] and behind not in boxes:
          pulls.append((i, delta))

    if not pulls:
      break

    i, delta = rng.choice(pulls)
    moves += steps[boxes[i] + delta] + 1
    if moves > size.moves:
      break

    player = boxes[i] + 2 * delta
    boxes[i] += delta

  if best_boxes is None:
    return None

  # Reverse play always ends next to a box, which would give the first move away: the player
  # starts anywhere within reach.
  start = rng.choice(best_starts)
  return Level(
    columns=size.side,
    walls=tuple(walls),
    targets=frozenset(targets),
    boxes=best_boxes,
    player=start,
  )


def _carve(side: int, rng: random.Random) -> list[bool]:
  """Returns True for each wall of a connected room inside a border of walls, [side * side]."""
  walls = [True] * (side * side)
  row, column = rng.randint(1, side - 2), rng.randint(1, side - 2)
  direction = rng.choice(_DIRECTIONS)

  for _ in range(3 * side):
    if rng.random() < _TURN_PROBABILITY:
      direction = rng.choice(_DIRECTIONS)
    row = min(max(row + direction[0], 1), side - 2)
    column = min(max(column + direction[1], 1), side - 2)

    for r, c in rng.choice(_STAMPS):
      if 0 < row + r < side - 1 and 0 < column + c < side - 1:
        walls[(row + r) * side + column + c] = False

  return walls


def _manhattan(a: int, b: int, columns: int) -> int:
  return abs(a // columns - b // columns) + abs(a % columns - b % columns)
