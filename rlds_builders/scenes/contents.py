"""Contents of a drawn image, from which captions and questions are written.

The images are drawn in a process of their own (room_drawing, grid_drawing). Every relation is
either plain to see or absent: `left_of(a, b)` and `left_of(b, a)` may both be false.
"""

import dataclasses
from collections.abc import Iterator
from typing import Generic, TypeVar

import numpy as np

from gato_jax.documents import SPLITS
from gato_jax.errors import GatoError
from rlds_builders.scenes.drawing_process import drawn

# Images of each task.
PICTURES = {"train": 5_000, "validation": 500}

# Metres that one thing must be nearer than another for people to agree about it.
_MIN_NEARER = 0.8


@dataclasses.dataclass(frozen=True)
class Thing:
  """A thing in a room.

  Attributes:
    colour: E.g. "red".
    kind: E.g. "ball".
    left: First pixel column of its visible part.
    right: Column behind its last one.
    top: First pixel row of its visible part.
    bottom: Row behind its last one.
    distance: Metres on the floor between it and the camera.
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
    """E.g. "red ball"."""
    return f"{self.colour} {self.kind}"


@dataclasses.dataclass(frozen=True)
class Piece:
  """A thing on a grid.

  Attributes:
    colour: E.g. "red".
    kind: E.g. "ball".
    column: Column of its cell, from the left.
    row: Row of its cell, from the top.
  """

  colour: str
  kind: str
  column: int
  row: int

  @property
  def name(self) -> str:
    """E.g. "red ball"."""
    return f"{self.colour} {self.kind}"


T = TypeVar("T", Thing, Piece)


@dataclasses.dataclass(frozen=True, eq=False)
class Scene(Generic[T]):
  """An image and everything that can be seen in it.

  Attributes:
    image: uint8 [side, side, 3].
    things: Things of a room, or pieces on a grid.
  """

  image: np.ndarray
  things: tuple[T, ...]

  def named(self, name: str) -> T | None:
    """Returns the only thing of that name, e.g. "red ball"; None unless there is exactly one."""
    matches = [thing for thing in self.things if thing.name == name]
    return matches[0] if len(matches) == 1 else None


def rooms(stream: str, split: str, side: int) -> Iterator[Scene[Thing]]:
  """Draws rooms in 3D of one to four things.

  Args:
    stream: Name of the random stream; another one gives other images.
    split: "train" or "validation".
    side: Pixels of the square images, a multiple of 16.

  Raises:
    GatoError: An argument is wrong, or this machine cannot draw rooms.
  """
  return _draw("rlds_builders.scenes.room_drawing:draw", stream, split=split, side=side)


def grids(stream: str, split: str, side: int) -> Iterator[Scene[Piece]]:
  """Draws grids of 4x4 cells, seen from the top, with three to six pieces; see `rooms`."""
  return _draw("rlds_builders.scenes.grid_drawing:draw", stream, split=split, side=side)


def _draw(function: str, stream: str, split: str, side: int) -> Iterator[Scene]:
  if split not in SPLITS:
    raise GatoError(f"unknown split of drawn pictures: {split!r}; use one of {SPLITS}")
  if side <= 0 or side % 16:
    raise GatoError(f"pictures {side} pixels wide cannot be drawn; side must be a multiple of 16")

  return drawn(function, stream, split, side, PICTURES[split])


def generator(stream: str, split: str, index: int) -> np.random.Generator:
  """Returns the random generator of one image; no two splits or streams share numbers."""
  # The 0 ends the name, so that no name continues another one.
  return np.random.default_rng([*stream.encode(), 0, SPLITS.index(split), index])


def left_of(a: Thing, b: Thing) -> bool:
  """Returns True when no column of the image shows both, and `a` is on the left."""
  return a.right < b.left


def in_front_of(a: Thing, b: Thing) -> bool:
  """Returns True when `a` is nearer, lower in the image, and before `b` rather than beside it."""
  shared = min(a.right, b.right) - max(a.left, b.left)
  narrower = min(a.right - a.left, b.right - b.left)
  return nearer(a, b) and shared >= narrower / 2


def nearer(a: Thing, b: Thing) -> bool:
  """Returns True when `a` is plainly nearer to the camera than `b`, and lower in the image."""
  return a.distance + _MIN_NEARER < b.distance and a.bottom > b.bottom
