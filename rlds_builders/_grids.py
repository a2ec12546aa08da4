"""Draws grids with coloured boxes, balls and keys from the top, as MiniGrid does: in a process of its own (_drawn)."""

from collections.abc import Iterator

import numpy as np

from rlds_builders import _scenes
from rlds_builders.babyai.environment import Grid, WorldObj

CELLS = 4  # a side: at 64 pixels a cell is one patch of the network
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
_TYPES = {"key": 5, "ball": 6, "box": 7}  # MiniGrid's numbers
_COLOUR_CODES = {"red": 0, "green": 1, "blue": 2, "purple": 3, "yellow": 4, "grey": 5}
_FEWEST, _MOST = 2, 6
_NOWHERE = (-1, -1)


def draw(stream: str, split: str, side: int, count: int) -> Iterator[_scenes.Scene]:
  """Pictures of two to six things in cells of their own."""
  for index in range(count):
    random = _scenes.generator(stream, split, index)
    number = int(random.integers(_FEWEST, _MOST + 1))
    pieces = []
    for cell in random.choice(CELLS * CELLS, number, replace=False).tolist():
      row, column = divmod(cell, CELLS)
      kind, colour = str(random.choice(tuple(_TYPES))), str(random.choice(COLOURS))
      pieces.append(_scenes.Piece(colour, kind, column, row))
    yield _scenes.Scene(_picture(pieces, side), tuple(pieces))


def _picture(pieces: list[_scenes.Piece], side: int) -> np.ndarray:
  grid = Grid(CELLS, CELLS)
  for piece in pieces:
    grid.set(piece.column, piece.row, WorldObj.decode(_TYPES[piece.kind], _COLOUR_CODES[piece.colour], 0))
  return grid.render(side // CELLS, agent_pos=_NOWHERE)
