"""Brings images to sides that are multiples of 16, as patches need."""

import numpy as np
from PIL import Image

from gato_jax.errors import GatoError, check_name

SIDE = 16  # of a patch
WAYS = ("pad", "crop", "stretch")


def size_for(
  shape: tuple[int, int], image_size: tuple[int, int] | None, resize: str, where: str
) -> tuple[int, int]:
  """Returns the height and width of fitted images.

  Args:
    shape: Height and width as they are.
    image_size: Height and width to bring them to; None: the nearest that need no scaling.
    resize: One of WAYS.
    where: Begins messages.

  Raises:
    GatoError: The sides are no multiples of 16, or too short to be cropped to one.
  """
  check_name(resize, WAYS, f"way to resize images in {where}")

  if image_size is None:
    # Cropping rounds down, padding and stretching round up.
    up = 0 if resize == "crop" else SIDE - 1
    height, width = ((side + up) // SIDE * SIDE for side in shape)
  else:
    height, width = image_size

  if height % SIDE or width % SIDE or height < SIDE or width < SIDE:
    raise GatoError(
      f"{where}: images of {shape[0]} x {shape[1]} would become {height} x {width}; give an "
      f"image_size of multiples of {SIDE}"
    )
  return height, width


def fit(image: np.ndarray, size: tuple[int, ...], resize: str) -> np.ndarray:
  """Returns an image in another size, uint8 [H, W, 3].

  Args:
    image: uint8 [h, w], [h, w, 1] or [h, w, 3]; grey becomes RGB.
    size: Height and width, of `size_for`.
    resize: "stretch" scales both sides; "pad" keeps the proportions and adds black on two sides;
      "crop" keeps them and cuts two sides off. Where an image fits without scaling, its pixels
      are kept.
  """
  if image.ndim == 2 or image.shape[-1] == 1:
    image = np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=-1)

  height, width = image.shape[:2]
  if (height, width) == tuple(size):
    return image
  ratios = size[0] / height, size[1] / width

  # Less than a patch of difference is padded or cut off, not scaled.
  is_near = all(abs(new - old) < SIDE for new, old in zip(size, (height, width), strict=True))
  if resize == "stretch":
    scaled = size[0], size[1]
  elif is_near:
    scaled = height, width
  else:
    ratio = min(ratios) if resize == "pad" else max(ratios)
    scaled = round(height * ratio), round(width * ratio)

  if scaled != (height, width):
    pixels = Image.fromarray(image).resize(scaled[::-1], Image.Resampling.BILINEAR)
    image = np.asarray(pixels)

  return _centred(image, size)


def _centred(image: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
  """Returns the middle of an image, with black around it where it is too small."""
  result = np.zeros((*size, 3), np.uint8)
  source, target = [], []

  for old, new in zip(image.shape[:2], size, strict=True):
    length = min(old, new)
    source.append(slice((old - length) // 2, (old - length) // 2 + length))
    target.append(slice((new - length) // 2, (new - length) // 2 + length))

  result[tuple(target)] = image[tuple(source)]
  return result
