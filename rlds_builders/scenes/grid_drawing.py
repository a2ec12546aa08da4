"""Draws grids with coloured boxes, balls and keys from the top, as MiniGrid does.

It runs in a process of its own (drawing_process).
"""

from collections.abc import Iterator

import numpy as np
from minigrid.core.constants import COLOR_NAMES
from minigrid.core.grid import Grid
from minigrid.core.world_object import Ball, Box, Key

from rlds_builders.scenes import contents

# Cells of a side: at 64 pixels a cell is one patch of the network.
CELLS = 4
_KINDS = {"box": Box, "ball": Ball, "key": Key}

# With two things, some grids would be drawn twice.
_MIN_PIECES = 3
_MAX_PIECES = 6

# A position outside the grid: no agent is drawn.
_NO_AGENT = (-1, -1)


def draw(stream: str, split: str, side: int, count: int) -> Iterator[contents.Scene]:
  """Yields grids of three to six pieces in cells of their own.

  Args:
    stream: Name of the random stream.
    split: "train" or "validation".
    side: Pixels of the square images, a multiple of 16.
    count: Number of grids.
  """
  for index in range(count):
    random = contents.generator(stream, split, index)
    piece_count = int(random.integers(_MIN_PIECES, _MAX_PIECES + 1))
    cells = random.choice(CELLS * CELLS, piece_count, replace=False)

    pieces = []
    for cell in cells.tolist():
      row, column = divmod(cell, CELLS)
      kind = str(random.choice(tuple(_KINDS)))
      colour = str(random.choice(COLOR_NAMES))
      pieces.append(contents.Piece(colour, kind, column=column, row=row))

    yield contents.Scene(_image(pieces, side), tuple(pieces))


def _image(pieces: list[contents.Piece], side: int) -> np.ndarray:
  """Renders pieces as uint8 [side, side, 3]."""
  grid = Grid(CELLS, CELLS)
  for piece in pieces:
    grid.set(piece.column, piece.row, _KINDS[piece.kind](piece.colour))
  return grid.render(side // CELLS, agent_pos=_NO_AGENT)
