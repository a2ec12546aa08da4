"""Draws grids with coloured boxes, balls and keys from the top, as MiniGrid does: in a process of its own (_drawn)."""

from collections.abc import Iterator

import numpy as np
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Key

from rlds_builders import _scenes

CELLS = 4  # a side: at 64 pixels a cell is one patch of the network
_KINDS = {"box": Box, "ball": Ball, "key": Key}
_FEWEST, _MOST = 3, 6  # of two things some grids would be drawn twice
_NOWHERE = (-1, -1)


def draw(stream: str, split: str, side: int, count: int) -> Iterator[_scenes.Scene]:
  """Pictures of three to six things in cells of their own."""
  for index in range(count):
    random = _scenes.generator(stream, split, index)
    number = int(random.integers(_FEWEST, _MOST + 1))
    pieces = []
    for cell in random.choice(CELLS * CELLS, number, replace=False).tolist():
      row, column = divmod(cell, CELLS)
      kind, colour = str(random.choice(tuple(_KINDS))), str(random.choice(COLOR_NAMES))
      pieces.append(_scenes.Piece(colour, kind, column, row))
    yield _scenes.Scene(_picture(pieces, side), tuple(pieces))


def _picture(pieces: list[_scenes.Piece], side: int) -> np.ndarray:
  grid = Grid(CELLS, CELLS)
  for piece in pieces:
    grid.set(piece.column, piece.row, _KINDS[piece.kind](piece.colour))
  return grid.render(side // CELLS, agent_pos=_NOWHERE)
