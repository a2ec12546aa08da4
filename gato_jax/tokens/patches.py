"""Images <-> 16x16 patches in raster order, and where each patch lies in its image (GATO_SPEC sections 1 and 2)."""

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.tokens import vocabulary

_SIDE = vocabulary.PATCH_SIDE


def check_shape(shape: tuple[int, ...], field: str) -> None:
  """GatoError unless shape is [H, W, 1 or 3] with both sides multiples of 16."""
  if len(shape) != 3 or shape[2] not in (1, 3):
    raise GatoError(f"{field}: an image is uint8 [H, W, 1 or 3], this one is {list(shape)}")
  if shape[0] % _SIDE or shape[1] % _SIDE:
    raise GatoError(
      f"{field}: image sides {shape[0]}x{shape[1]} must be multiples of {_SIDE}; resize in the environment"
    )


def to_patches(images: np.ndarray) -> np.ndarray:
  """uint8 [n, H, W, C] -> uint8 [n, H/16 * W/16, 16, 16, 3], raster order; one channel is repeated to three."""
  n, height, width, channels = images.shape
  grid = images.reshape(n, height // _SIDE, _SIDE, width // _SIDE, _SIDE, channels).swapaxes(2, 3)
  patches = grid.reshape(n, -1, _SIDE, _SIDE, channels)
  return np.repeat(patches, 3, axis=-1) if channels == 1 else patches


def to_images(patches: np.ndarray, height: int, width: int) -> np.ndarray:
  """The inverse of `to_patches` for three channels."""
  n = patches.shape[0]
  grid = patches.reshape(n, height // _SIDE, width // _SIDE, _SIDE, _SIDE, 3).swapaxes(2, 3)
  return grid.reshape(n, height, width, 3)


def positions(height: int, width: int) -> np.ndarray:
  """int32 [H/16 * W/16, 4]: row low, row high, column low, column high in 1/128 of the image, high exclusive.

  Interval ends are rounded to the nearest 1/128 (our decision; the paper quantises and does not say how).
  """
  rows, columns = height // _SIDE, width // _SIDE
  row_ends = np.rint(np.arange(rows + 1) * vocabulary.PATCH_INTERVALS / rows).astype(np.int32)
  column_ends = np.rint(np.arange(columns + 1) * vocabulary.PATCH_INTERVALS / columns).astype(np.int32)
  r, c = (a.ravel() for a in np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"))
  return np.stack([row_ends[r], row_ends[r + 1], column_ends[c], column_ends[c + 1]], axis=1)
