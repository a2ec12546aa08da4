"""Pictures as people have them -> uint8 [H, W, 3] for the network: upright, opaque, both sides multiples of 16.

What is damaged, absurdly large or no picture at all is refused by name; a set goes on without it (`Gate`).
"""

import io
import pathlib
import sys
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import tqdm
from PIL import Image, ImageOps

from gato_jax.documents import Captioned
from gato_jax.errors import GatoError

MAX_PIXELS = 2**26  # by the header: more is refused before anything is decoded
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")  # of Pillow's; others may start programs, as EPS does
_MULTIPLE = 16
_REFUSED_SHARE, _REFUSED_AFTER = 0.1, 100


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
      image = ImageOps.exif_transpose(image)
      return np.asarray(_opaque(image).resize(_size(image, side), Image.Resampling.BICUBIC))
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


def _opaque(image: Image.Image) -> Image.Image:
  """In RGB, on white."""
  if image.mode == "I" or image.mode.startswith("I;16"):
    grey = np.asarray(image)
    if grey.min() < 0 or grey.max() > 0xFFFF:
      raise Refused("grey of more than 16 bits")
    return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
  if image.mode == "F":
    raise Refused("its pixels are floating-point numbers")
  if not image.has_transparency_data:
    return image.convert("RGB")
  image = image.convert("RGBA")
  white = Image.new("RGBA", image.size, "white")
  return Image.alpha_composite(white, image).convert("RGB")


class Gate:
  """Fits the pictures of a set; each one that is refused is told on stderr and counted, and the set goes on.

  Raises:
    GatoError: more than a tenth of 100 pictures or more is refused, or all are.
  """

  def __init__(self, where: str, side: int):
    self._where, self._side = where, side
    self._seen = self._refused = 0

  def fit(self, picture: str | pathlib.Path | bytes, name: str = "") -> np.ndarray | None:
    """As `fit` above; None where the picture is refused."""
    try:
      fitted = fit(picture, self._side, name)
    except Refused as e:
      self.refuse(str(e))
      return None
    self._seen += 1
    return fitted

  def captioned(self, found: Iterable[tuple[str | pathlib.Path | bytes, str, tuple[str, ...]]]) -> Iterator[Captioned]:
    """A whole set: pictures, their names for messages ("" of a path) and their captions."""
    for picture, name, captions in found:
      fitted = self.fit(picture, name)
      if fitted is not None:
        yield Captioned(fitted, captions)
    self.finish()

  def refuse(self, message: str) -> None:
    self._seen += 1
    self._refused += 1
    _tell(f"refused: {message}")
    if self._seen >= _REFUSED_AFTER and self._refused > _REFUSED_SHARE * self._seen:
      raise GatoError(f"{self._counted}, more than {_REFUSED_SHARE:.0%}; the last one: {message}")

  def finish(self) -> None:
    """The count of what was refused, where anything was."""
    if not self._refused:
      return
    if self._refused == self._seen:
      raise GatoError(f"{self._counted}, all there are; the lines above say why")
    _tell(self._counted)

  @property
  def _counted(self) -> str:
    return f"{self._where}: refused {self._refused:,} of {self._seen:,} pictures"


def _tell(line: str) -> None:
  tqdm.tqdm.write(line, file=sys.stderr)
