"""Images -> 16x16 patches in raster order, and the position of each patch in its image.

See Reed et al. 2022, section 2.1 (patches) and appendix C.3 (positions).
"""

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.tokens import vocabulary

_SIDE = vocabulary.PATCH_SIDE


def check_shape(shape: tuple[int, ...], field: str) -> None:
  """Raises GatoError unless `shape` is [H, W, 1 or 3] with both sides multiples of 16."""
  if len(shape) != 3 or shape[2] not in (1, 3):
    raise GatoError(f"{field}: an image is uint8 [H, W, 1 or 3], this one is {list(shape)}")

  if shape[0] % _SIDE or shape[1] % _SIDE:
    raise GatoError(
      f"{field}: image sides {shape[0]}x{shape[1]} must be multiples of {_SIDE}; "
      "resize in the environment"
    )


def to_patches(images: np.ndarray) -> np.ndarray:
  """Cuts images into patches in raster order; a single channel is repeated to three.

  Args:
    images: uint8 [n, H, W, C].

  Returns:
    uint8 [n, H/16 * W/16, 16, 16, 3].
  """
  n, height, width, channels = images.shape
  rows = height // _SIDE
  columns = width // _SIDE

  # [n, row, y, column, x, C] -> [n, row, column, y, x, C]
  grid = images.reshape(n, rows, _SIDE, columns, _SIDE, channels).swapaxes(2, 3)
  patches = grid.reshape(n, -1, _SIDE, _SIDE, channels)

  return np.repeat(patches, 3, axis=-1) if channels == 1 else patches


def positions(height: int, width: int) -> np.ndarray:
  """Returns the positions of an image's patches in raster order.

  Interval ends are rounded to the nearest 1/128. The paper quantises them and does not say how:
  this is our decision.

  Returns:
    int32 [H/16 * W/16, 4]: row low, row high, column low, column high in 1/128 of the image; high
    is exclusive.
  """
  rows = height // _SIDE
  columns = width // _SIDE
  row_ends = _interval_ends(rows)
  column_ends = _interval_ends(columns)

  # Row and column of every patch, flattened in raster order.
  row_grid, column_grid = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
  row = row_grid.ravel()
  column = column_grid.ravel()

  intervals = (row_ends[row], row_ends[row + 1], column_ends[column], column_ends[column + 1])
  return np.stack(intervals, axis=1)


def _interval_ends(count: int) -> np.ndarray:
  """Returns int32 [count + 1], the ends of `count` equal intervals in 1/128 of the image."""
  ends = np.arange(count + 1) * vocabulary.PATCH_INTERVALS / count
  return np.rint(ends).astype(np.int32)
