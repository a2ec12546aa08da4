"""Converts image files to uint8 [H, W, 3] for the network: upright, opaque, sides multiples of 16.

A file that is damaged, absurdly large or no image at all is refused by name. A set goes on without
it (`ImageSkipCounter`).
"""

import io
import pathlib
import warnings
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image

from gato_jax.documents import CaptionedImage
from gato_jax.errors import GatoError
from rlds_builders.base import skip_counter

# An image with more pixels by its header is refused before anything is decoded.
MAX_PIXELS = 2**26

# Pillow knows more formats, some of which start programs, as EPS does.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")

# Pixels of a patch's side (Reed et al. 2022, section 2.1).
_MULTIPLE = 16

# TIFF tags, and the sample format of unsigned integers.
_BITS_PER_SAMPLE = 258
_SAMPLE_FORMAT = 339
_UNSIGNED = (1,)

# Exif orientation -> the transposition that makes the image upright.
_UPRIGHT = {
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}

# A path, or the bytes of a file.
ImageSource = str | pathlib.Path | bytes


class BadImage(GatoError):
  """An image that cannot be used; the message names it and the reason."""


def fit(image: ImageSource, side: int, name: str = "") -> np.ndarray:
  """Decodes an image file and resizes it.

  Transparent pixels become white. Of several images in a file the first counts.

  Args:
    image: Path of the file, or its bytes.
    side: Pixels of the longer side, a multiple of 16. The other side becomes the nearest multiple
      of 16, at least 16.
    name: Name of the image for messages; by default its path.

  Returns:
    uint8 [H, W, 3].

  Raises:
    BadImage: There is no such file, or it is empty, truncated, not an image, too large, or of
      pixels that have no colour.
    GatoError: side is not a multiple of 16.
  """
  if side < _MULTIPLE or side % _MULTIPLE:
    raise GatoError(f"pictures cannot have a side of {side}; it must be a multiple of {_MULTIPLE}")

  if not isinstance(image, bytes):
    name = name or str(image)
  # Messages are one line, whatever a set calls its images.
  name = " ".join(name.split())

  if isinstance(image, bytes):
    return _decode(io.BytesIO(image), side, name)
  try:
    with open(image, "rb") as file:
      return _decode(file, side, name)
  except (OSError, ValueError) as e:
    # A ValueError where the path is none, for instance with a null character.
    raise BadImage(f"{name}: {getattr(e, 'strerror', e)}") from e


def _decode(file: BinaryIO, side: int, name: str) -> np.ndarray:
  """Decodes an opened file as `fit` describes."""
  if not file.read(1):
    raise BadImage(f"{name}: the file is empty")
  file.seek(0)

  try:
    with warnings.catch_warnings():
      # Pillow warns about odd metadata, and about sizes that are refused here.
      warnings.simplefilter("ignore")

      image: Image.Image = Image.open(file, formats=FORMATS)
      if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError

      # A JPEG is decoded at no more than twice the size that is needed, which saves time.
      image.draft(image.mode, (2 * side, 2 * side))
      image.load()

      # The conversion to RGB loses the Exif data.
      transposition = _transposition(image)
      image = _opaque(image)
      if transposition is not None:
        image = image.transpose(transposition)

      return np.asarray(image.resize(_size(image, side), Image.Resampling.BICUBIC))
  except BadImage as e:
    raise BadImage(f"{name}: {e}") from None
  except Image.DecompressionBombError as e:
    raise BadImage(f"{name}: too large, more than {MAX_PIXELS:,} pixels by its header") from e
  except Image.UnidentifiedImageError as e:
    raise BadImage(f"{name}: not a picture of {', '.join(FORMATS)}") from e
  except Exception as e:
    # Pillow's decoders raise unrelated types on damaged data: SyntaxError, struct.error, ...
    message = " ".join(str(e).split()) or type(e).__name__
    raise BadImage(f"{name}: damaged ({message})") from e


def _size(image: Image.Image, side: int) -> tuple[int, int]:
  """Returns the width and height of a fitted image."""
  longest = max(image.size)

  def rounded(length: int) -> int:
    # Adding a half rounds to the nearest multiple; Python's round() would round 2.5 to 2.
    multiples = int(length * side / longest / _MULTIPLE + 0.5)
    return max(_MULTIPLE, multiples * _MULTIPLE)

  return rounded(image.width), rounded(image.height)


def _transposition(image: Image.Image) -> Image.Transpose | None:
  """Returns what makes an image upright; None where it is, or where Exif data cannot be read."""
  try:
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    return _UPRIGHT.get(orientation) if orientation else None
  except Exception:
    # The pixels are decoded and good, whatever a camera wrote beside them.
    return None


def _opaque(image: Image.Image) -> Image.Image:
  """Converts an image to RGB on a white background."""
  if image.mode == "F":
    raise BadImage("its pixels are floating-point numbers, of which nobody says what is white")
  if image.mode.startswith("I"):
    return _from_16_bits(image)
  if not image.has_transparency_data:
    return image.convert("RGB")

  image = image.convert("RGBA")
  white = Image.new("RGBA", image.size, "white")
  return Image.alpha_composite(white, image).convert("RGB")


def _from_16_bits(image: Image.Image) -> Image.Image:
  """Converts 16-bit grey of PNG, PGM and TIFF, where 65,535 is white, to RGB.

  Raises:
    BadImage: A TIFF holds numbers of another type.
  """
  if image.format == "TIFF":
    tags = image.tag_v2  # type: ignore[attr-defined]  # Only Pillow's TIFF images have it.
    bits = tags.get(_BITS_PER_SAMPLE)
    sample_format = tags.get(_SAMPLE_FORMAT, _UNSIGNED)
    if (bits, sample_format) != ((16,), _UNSIGNED):
      signed = "" if sample_format == _UNSIGNED else ", signed"
      raise BadImage(f"grey of {bits[0]} bits{signed}; 8 or 16 have a white")

  # The upper eight bits: Pillow's own conversion would clip at 255.
  grey = (np.asarray(image) >> 8).astype(np.uint8)
  return Image.fromarray(grey).convert("RGB")


class ImageSkipCounter(skip_counter.SkipCounter):
  """Fits the images of a set, which goes on without those that are refused.

  Args:
    where: Name of the set, for messages, e.g. "align, train".
    side: Pixels of the longer side of the fitted images, a multiple of 16.
  """

  def __init__(self, where: str, side: int):
    super().__init__(where, "pictures")
    self._side = side

  def fit(self, image: ImageSource, name: str = "") -> np.ndarray | None:
    """Fits an image as `images.fit` does; returns None where it is refused."""
    try:
      fitted = fit(image, self._side, name=name)
    except BadImage as e:
      self.refuse(str(e))
      return None

    self.accept()
    return fitted

  def captioned(
    self, samples: Iterable[tuple[ImageSource, str, tuple[str, ...]]]
  ) -> Iterator[CaptionedImage]:
    """Fits the images of a whole set of captioned images.

    Args:
      samples: (image, name, captions) each. The name is for messages; it may be "" for a path.
    """
    for image, name, captions in samples:
      fitted = self.fit(image, name)
      if fitted is not None:
        yield CaptionedImage(fitted, captions)

    self.finish()
