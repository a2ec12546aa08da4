"""Levels by reverse play: from the solved board the player pulls boxes away, so that every level can be solved.

Cells are numbered row-major: cell = row * columns + column. Text uses the usual letters: "#" wall, " " floor,
"." target, "$" box, "*" box on target, "@" player, "+" player on target.
"""

import dataclasses
import random
from collections.abc import Iterable, Sequence

ACTIONS = ("up", "down", "left", "right")
# Rooms are carved by a walk that stamps one of these (row, column) patterns a step, as in Racaniere et al. 2017
# (I2A, appendix), whose 10x10 boards with 4 boxes are the paper's task.
_STAMPS = (
  ((0, -1), (0, 0), (0, 1)),
  ((-1, 0), (0, 0), (1, 0)),
  ((0, 0), (1, 0), (1, 1)),
  ((0, 0), (0, 1), (1, 0), (1, 1)),
  ((0, 0), (0, 1), (-1, 0)),
)
_TURN = 0.35  # chance that the carving walk turns


@dataclasses.dataclass(frozen=True)
class Size:
  """What a task asks of its levels.

  Attributes:
    side: cells a side, walls included.
    boxes: number of boxes and targets.
    steps: time limit of an episode.
    moves: a solution of at most this many moves exists.
    displacement: the least summed Manhattan distance of the boxes from where reverse play found them.
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
  """An immutable board at the beginning of an episode."""

  columns: int
  walls: tuple[bool, ...]
  targets: frozenset[int]
  boxes: frozenset[int]
  player: int

  @property
  def deltas(self) -> tuple[int, int, int, int]:
    """Change of cell number for each action."""
    return (-self.columns, self.columns, -1, 1)

  def rows(self) -> list[str]:
    """The level as text, a string a row."""
    text = ""
    for cell, wall in enumerate(self.walls):
      letter = "#" if wall else "$" if cell in self.boxes else "@" if cell == self.player else " "
      text += {"$": "*", "@": "+", " ": "."}[letter] if cell in self.targets else letter
    return [text[i : i + self.columns] for i in range(0, len(text), self.columns)]


def parse(rows: Sequence[str]) -> Level:
  """The inverse of Level.rows()."""
  text = "".join(rows)
  cells = {letters: frozenset(i for i, letter in enumerate(text) if letter in letters) for letters in (".*+", "$*")}
  (player,) = (i for i, letter in enumerate(text) if letter in "@+")
  return Level(len(rows[0]), tuple(letter == "#" for letter in text), cells[".*+"], cells["$*"], player)


def generate(size: Size, seed: int) -> Level:
  """The level of a seed: the same in every process, and different for different seeds with high probability."""
  rng = random.Random(seed)
  while True:  # a few to a hundred tries, depending on the displacement asked for
    level = _attempt(size, rng)
    if level:
      return level


def distances(walls: Sequence[bool], boxes: Iterable[int], deltas: Iterable[int], start: int) -> dict[int, int]:
  """Walking distance to every cell that the player reaches without pushing."""
  found, queue = {start: 0}, [start]
  for cell in queue:
    for delta in deltas:
      near = cell + delta
      if near not in found and not walls[near] and near not in boxes:
        found[near] = found[cell] + 1
        queue.append(near)
  return found


def _attempt(size: Size, rng: random.Random) -> Level | None:
  """Carves a room and plays backwards; None when no board on the way is far enough from solved."""
  walls = _carve(size.side, rng)
  floor = [cell for cell, wall in enumerate(walls) if not wall]
  if len(floor) < (size.side - 2) ** 2 // 2:  # cramped rooms repeat between seeds
    return None
  *boxes, player = rng.sample(floor, size.boxes + 1)
  targets = list(boxes)
  deltas = (-size.side, size.side, -1, 1)
  moves, best, best_score = 0, None, size.displacement - 1
  while True:
    reach = distances(walls, boxes, deltas, player)
    score = sum(_manhattan(box, target, size.side) for box, target in zip(boxes, targets, strict=True))
    if score > best_score and not set(boxes) & set(targets):
      best, best_score = (frozenset(boxes), {c: d for c, d in reach.items() if moves + d <= size.moves}), score
    pulls = [
      (i, delta)
      for i, box in enumerate(boxes)
      for delta in deltas
      if box + delta in reach and not walls[box + 2 * delta] and box + 2 * delta not in boxes
    ]
    if not pulls:
      break
    i, delta = rng.choice(pulls)
    moves += reach[boxes[i] + delta] + 1
    if moves > size.moves:
      break
    player = boxes[i] + 2 * delta
    boxes[i] += delta
  if best is None:
    return None
  # Anywhere within reach: reverse play itself always ends beside a box, which would give the first move away.
  start = rng.choice(sorted(best[1]))
  return Level(size.side, tuple(walls), frozenset(targets), best[0], start)


def _carve(side: int, rng: random.Random) -> list[bool]:
  """Walls of a connected room inside a border of walls."""
  walls = [True] * (side * side)
  row, column = rng.randint(1, side - 2), rng.randint(1, side - 2)
  step = rng.choice(((-1, 0), (1, 0), (0, -1), (0, 1)))
  for _ in range(3 * side):
    if rng.random() < _TURN:
      step = rng.choice(((-1, 0), (1, 0), (0, -1), (0, 1)))
    row = min(max(row + step[0], 1), side - 2)
    column = min(max(column + step[1], 1), side - 2)
    for r, c in rng.choice(_STAMPS):
      if 0 < row + r < side - 1 and 0 < column + c < side - 1:
        walls[(row + r) * side + column + c] = False
  return walls


def _manhattan(a: int, b: int, columns: int) -> int:
  return abs(a // columns - b // columns) + abs(a % columns - b % columns)
