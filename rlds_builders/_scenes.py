"""What is in a drawn picture, for who writes captions and questions; the processes that draw are _rooms and _grids.

Every relation is either plain to see or not there: `left_of(a, b)` and `left_of(b, a)` may both be false.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from gato_jax.documents import SPLITS
from gato_jax.errors import GatoError
from rlds_builders._drawn import drawn

PICTURES = {"train": 5_000, "validation": 500}  # of a task
_APART = 0.8  # metres that one thing must be nearer than another for people to agree


@dataclasses.dataclass(frozen=True)
class Thing:
  """A thing in a room. left, right, top, bottom: of what can be seen of it, pixels, right and bottom exclusive.

  distance: metres on the floor between it and the camera.
  """

  colour: str
  kind: str
  left: int
  right: int
  top: int
  bottom: int
  distance: float

  @property
  def name(self) -> str:
    return f"{self.colour} {self.kind}"


@dataclasses.dataclass(frozen=True)
class Piece:
  """A thing on a grid; column and row count from the top left cell."""

  colour: str
  kind: str
  column: int
  row: int

  @property
  def name(self) -> str:
    return f"{self.colour} {self.kind}"


@dataclasses.dataclass(frozen=True, eq=False)
class Scene:
  """A picture uint8 [side, side, 3] and everything that can be seen in it."""

  picture: np.ndarray
  things: tuple[Thing, ...] | tuple[Piece, ...]

  def named(self, name: str) -> Thing | Piece | None:
    """The only thing of that name ("red ball"), if there is one."""
    found = [thing for thing in self.things if thing.name == name]
    return found[0] if len(found) == 1 else None


def rooms(stream: str, split: str, side: int) -> Iterator[Scene]:
  """Rooms in 3D of one to four Things; another stream has other pictures."""
  return _draw("rlds_builders._rooms:draw", stream, split, side)


def grids(stream: str, split: str, side: int) -> Iterator[Scene]:
  """Grids of 4x4 cells from the top with three to six Pieces."""
  return _draw("rlds_builders._grids:draw", stream, split, side)


def _draw(function: str, stream: str, split: str, side: int) -> Iterator[Scene]:
  if split not in SPLITS:
    raise GatoError(f"unknown split of drawn pictures: {split!r}; use one of {SPLITS}")
  if side <= 0 or side % 16:
    raise GatoError(f"pictures {side} pixels wide cannot be drawn; side must be a multiple of 16")
  return drawn(function, stream, split, side, PICTURES[split])


def generator(stream: str, split: str, index: int) -> np.random.Generator:
  """Of one picture: no two splits or streams share numbers."""
  return np.random.default_rng([*stream.encode(), 0, SPLITS.index(split), index])


def left_of(a: Thing, b: Thing) -> bool:
  """No column of the picture shows both."""
  return a.right < b.left


def in_front_of(a: Thing, b: Thing) -> bool:
  """Nearer, lower in the picture, and before it rather than beside it."""
  shared = min(a.right, b.right) - max(a.left, b.left)
  narrower = min(a.right - a.left, b.right - b.left)
  return nearer(a, b) and shared >= narrower / 2


def nearer(a: Thing, b: Thing) -> bool:
  return a.distance + _APART < b.distance and a.bottom > b.bottom
