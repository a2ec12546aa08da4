"""Values <-> bins by precomputed edges, and text <-> SentencePiece ids.

The mu-law and the bins are those of Reed et al. 2022, section 2.1 and appendix B. A bin is found by
comparing the raw float32 value with 1,023 edges. The edges are the inverse mu-law of the uniform
bin borders, computed once in float64 and rounded up to float32, so that NumPy, TensorFlow and JAX
agree bit for bit: the float32 mu-law itself differs between the three.
"""

import dataclasses
import functools
import pathlib
from typing import Any

import numpy as np
import sentencepiece

from gato_jax.errors import GatoError
from gato_jax.tokens import vocabulary

SMALLEST_NORMAL = np.finfo(np.float32).tiny
# SentencePiece models that ship with the library, by name.
_SHIPPED = {"": "text.model", "2k": "text_2k.model"}


def _inverse_mu_law(y: np.ndarray) -> np.ndarray:
  """Returns x in float64 where y = sgn(x) ln(|x| mu + 1) / ln(M mu + 1) in [-1, 1]."""
  scale = np.log1p(vocabulary.M * vocabulary.MU)
  return np.sign(y) * np.expm1(np.abs(y) * scale) / vocabulary.MU


def _round_up_to_float32(x: np.ndarray) -> np.ndarray:
  """Returns the smallest float32 >= x.

  Comparing a float32 value with it then decides as comparing with x in exact arithmetic would.
  """
  rounded = x.astype(np.float32)
  is_below = rounded.astype(np.float64) < x
  return np.where(is_below, np.nextafter(rounded, np.float32(np.inf)), rounded)


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
  """The 1,024 bins of a value.

  Attributes:
    edges: float32 [1023], ascending. A value's bin is the number of edges <= the value.
    centres: float32 [1024], the value that each bin decodes to.
  """

  edges: np.ndarray
  centres: np.ndarray

  def encode(self, values: Any, xp: Any = np) -> Any:
    """Returns the bins, in [0, 1023], of float32 values of any shape.

    Args:
      values: An array of `xp`.
      xp: numpy, jax.numpy or tensorflow.
    """
    # XLA flushes subnormal numbers to zero and NumPy does not. Zero is an edge, so the two would
    # disagree: here subnormal numbers are zero everywhere.
    values = xp.where(xp.abs(values) < SMALLEST_NORMAL, xp.zeros_like(values), values)
    return xp.searchsorted(self.edges, values, side="right")


def _borders_and_centres() -> tuple[np.ndarray, np.ndarray]:
  """Returns the borders [1023] and centres [1024] of the uniform bins on [-1, 1].

  Both are multiples of 2 / 2048, which float64 holds exactly.
  """
  n = vocabulary.CONTINUOUS_BINS
  borders = np.arange(1, n) * (2.0 / n) - 1.0
  centres = (np.arange(n) + 0.5) * (2.0 / n) - 1.0
  return borders, centres


@functools.cache
def mu_law_bins() -> Bins:
  """Returns the bins of an observation whose spec has no bounds inside [-1, 1]."""
  borders, centres = _borders_and_centres()

  return Bins(
    edges=_round_up_to_float32(_inverse_mu_law(borders)),
    centres=_inverse_mu_law(centres).astype(np.float32),
  )


@functools.cache
def linear_bins(minimum: float = -1.0, maximum: float = 1.0) -> Bins:
  """Returns uniform bins on [minimum, maximum].

  They are for action dimensions, and for observations that lie in [-1, 1] by their spec.
  """
  borders, centres = _borders_and_centres()
  scale = (maximum - minimum) / 2.0
  middle = (maximum + minimum) / 2.0

  # Rounding to float32 may move an outermost centre beyond its bound.
  decoded = (middle + scale * centres).astype(np.float32)
  decoded = np.clip(decoded, np.float32(minimum), np.float32(maximum))

  return Bins(edges=_round_up_to_float32(middle + scale * borders), centres=decoded)


def check_finite(values: np.ndarray, field: str) -> None:
  """Raises GatoError, with the field and the index, when a value is NaN or infinite."""
  is_finite = np.isfinite(values)
  if is_finite.all():
    return

  index = np.argwhere(~is_finite)[0]
  value = values[tuple(index)]
  raise GatoError(f"{field}: {value} at index {index.tolist()}; values must be finite")


class TextCodec:
  """Encodes and decodes text with SentencePiece. The serialized model travels in checkpoints.

  Attributes:
    model: The serialized model.
    size: Number of its pieces.
    end: Id of the piece that ends a document; `encode` never produces it.
    writable: bool [32000], True for `end` and for the ids that a text may be made of.
  """

  def __init__(self, model: bytes):
    self.model = model
    self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)

    self.size = self._processor.vocab_size()
    if self.size > vocabulary.TEXT_SIZE:
      raise GatoError(f"the SentencePiece model has {self.size} pieces, at most 32000 have ids")

    self.end = self._processor.eos_id()
    if self.end < 0:
      raise GatoError(
        "the SentencePiece model has no </s> piece to end a document with; train it with eos_id=2"
      )

    # Control, unknown and unused pieces decode to no text; so do the ids behind the last piece.
    self.writable = np.zeros(vocabulary.TEXT_SIZE, bool)
    for piece in range(self.size):
      self.writable[piece] = not (
        self._processor.is_control(piece)
        or self._processor.is_unknown(piece)
        or self._processor.is_unused(piece)
      )
    self.writable[self.end] = True

  def encode(self, text: str) -> np.ndarray:
    """Returns the ids of a text, int32 [n]."""
    return np.asarray(self._processor.encode(text), np.int32)

  def decode(self, ids: Any) -> str:
    return self._processor.decode([int(i) for i in ids])


def default_text_codec() -> TextCodec:
  """Returns the codec that ships with the library (text_model.md has its corpus and licence)."""
  return text_codec()


@functools.cache
def text_codec(path: str = "") -> TextCodec:
  """Reads the SentencePiece model in a file.

  Args:
    path: The file; "" for the model of 32,000 pieces that ships with the library, "2k" for the one
      of 2,048.

  Raises:
    GatoError: The file holds no SentencePiece model, or one with too many pieces.
  """
  file = pathlib.Path(path)
  if path in _SHIPPED:
    file = pathlib.Path(__file__).with_name(_SHIPPED[path])

  # SentencePiece raises RuntimeError for bytes that are no model.
  try:
    return TextCodec(file.read_bytes())
  except (OSError, RuntimeError) as e:
    raise GatoError(
      f"{path} is no SentencePiece model ({e}); python -m experiments.train_tokenizer makes one"
    ) from e
