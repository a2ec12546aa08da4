"""Pictures as people have them -> uint8 [H, W, 3] for the network: upright, opaque, both sides multiples of 16.

What is damaged, absurdly large or no picture at all is refused by name; a set goes on without it (`Gate`).
"""

import io
import pathlib
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import ExifTags, Image

from gato_jax.documents import Captioned
from gato_jax.errors import GatoError
from rlds_builders import _gate

MAX_PIXELS = 2**26  # by the header: more is refused before anything is decoded
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # of Pillow's; others may start programs, as EPS does
_MULTIPLE = 16
_BITS_PER_SAMPLE, _SAMPLE_FORMAT, _UNSIGNED = 258, 339, (1,)  # tags of TIFF
_TURNS = {  # Exif's orientation -> what makes the picture upright
  2: Image.Transpose.FLIP_LEFT_RIGHT,
  3: Image.Transpose.ROTATE_180,
  4: Image.Transpose.FLIP_TOP_BOTTOM,
  5: Image.Transpose.TRANSPOSE,
  6: Image.Transpose.ROTATE_270,
  7: Image.Transpose.TRANSVERSE,
  8: Image.Transpose.ROTATE_90,
}


class Refused(GatoError):
  """A picture that cannot be used; the message names it and the reason."""


def fit(picture: str | pathlib.Path | bytes, side: int, name: str = "") -> np.ndarray:
  """uint8 [H, W, 3] of a file or its bytes, which `name` is for in messages; the longest side becomes `side` pixels.

  The other side becomes the nearest multiple of 16, at least 16. What is transparent becomes white. Of several
  pictures in a file the first counts.

  Raises:
    Refused: no such file, empty, truncated, not a picture, too large, or of pixels that have no colour.
    GatoError: side is not a multiple of 16.
  """
  if side < _MULTIPLE or side % _MULTIPLE:
    raise GatoError(f"pictures cannot have a side of {side}; it must be a multiple of {_MULTIPLE}")
  if not isinstance(picture, bytes):
    name = name or str(picture)
  name = " ".join(name.split())  # one line, whatever a set calls its pictures
  if isinstance(picture, bytes):
    return _decode(io.BytesIO(picture), side, name)
  try:
    with open(picture, "rb") as file:
      return _decode(file, side, name)
  except (OSError, ValueError) as e:  # a ValueError where the path is none
    raise Refused(f"{name}: {getattr(e, 'strerror', e)}") from e


def _decode(file: io.BufferedIOBase, side: int, name: str) -> np.ndarray:
  if not file.read(1):
    raise Refused(f"{name}: the file is empty")
  file.seek(0)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # Pillow's about odd metadata, and about sizes that are refused here
      image = Image.open(file, formats=FORMATS)
      if image.width * image.height > MAX_PIXELS:
        raise Image.DecompressionBombError
      image.draft(image.mode, (2 * side, 2 * side))  # a JPEG is decoded at no more than it needs
      image.load()
      turn = _turn(image)
      image = _opaque(image)
      if turn is not None:
        image = image.transpose(turn)
      return np.asarray(image.resize(_size(image, side), Image.Resampling.BICUBIC))
  except Refused as e:
    raise Refused(f"{name}: {e}") from None
  except Image.DecompressionBombError as e:
    raise Refused(f"{name}: too large, more than {MAX_PIXELS:,} pixels by its header") from e
  except Image.UnidentifiedImageError as e:
    raise Refused(f"{name}: not a picture of {', '.join(FORMATS)}") from e
  except Exception as e:  # Pillow's decoders raise what they please on damaged data: SyntaxError, struct.error, ...
    raise Refused(f"{name}: damaged ({' '.join(str(e).split()) or type(e).__name__})") from e


def _size(image: Image.Image, side: int) -> tuple[int, int]:
  """Width and height."""
  longest = max(image.size)
  return tuple(max(_MULTIPLE, int(s * side / longest / _MULTIPLE + 0.5) * _MULTIPLE) for s in image.size)


def _turn(image: Image.Image) -> Image.Transpose | None:
  """Returns what makes the picture upright, None where it is or where its Exif data cannot be read."""
  try:
    return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
  except Exception:  # as above; the pixels are decoded and good, whatever a camera wrote beside them
    return None


def _opaque(image: Image.Image) -> Image.Image:
  """In RGB, on white."""
  if image.mode == "F":
    raise Refused("its pixels are floating-point numbers, of which nobody says what is white")
  if image.mode.startswith("I"):
    return _grey_of_16_bits(image)
  if not image.has_transparency_data:
    return image.convert("RGB")
  image = image.convert("RGBA")
  white = Image.new("RGBA", image.size, "white")
  return Image.alpha_composite(white, image).convert("RGB")


def _grey_of_16_bits(image: Image.Image) -> Image.Image:
  """Scales the range of 16-bit PNG, PGM and TIFF, of which 65,535 is white; a TIFF may hold other numbers as well."""
  if image.format == "TIFF":
    bits, sample_format = image.tag_v2.get(_BITS_PER_SAMPLE), image.tag_v2.get(_SAMPLE_FORMAT, _UNSIGNED)
    if (bits, sample_format) != ((16,), _UNSIGNED):
      raise Refused(f"grey of {bits[0]} bits{'' if sample_format == _UNSIGNED else ', signed'}; 8 or 16 have a white")
  return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")


class Gate(_gate.Gate):
  """Fits the pictures of a set; the set goes on without those that are refused."""

  def __init__(self, where: str, side: int):
    super().__init__(where, "pictures")
    self._side = side

  def fit(self, picture: str | pathlib.Path | bytes, name: str = "") -> np.ndarray | None:
    """Fits as `fit` above does; None where the picture is refused."""
    try:
      fitted = fit(picture, self._side, name)
    except Refused as e:
      self.refuse(str(e))
      return None
    self.accept()
    return fitted

  def captioned(self, found: Iterable[tuple[str | pathlib.Path | bytes, str, tuple[str, ...]]]) -> Iterator[Captioned]:
    """A whole set: pictures, their names for messages ("" of a path) and their captions."""
    for picture, name, captions in found:
      fitted = self.fit(picture, name)
      if fitted is not None:
        yield Captioned(fitted, captions)
    self.finish()
