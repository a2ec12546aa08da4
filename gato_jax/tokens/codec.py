"""Values <-> bins by precomputed edges, and text <-> SentencePiece ids (GATO_SPEC section 1).

A bin is found by comparing the raw float32 value with 1,023 edges. The edges are the inverse mu-law of the uniform
bin borders, computed once in float64 and rounded up to float32, so that NumPy, TensorFlow and JAX agree bit for bit:
float32 mu-law itself differs between the three.
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
_TEXT_MODEL = pathlib.Path(__file__).with_name("text.model")


def _inverse_mu_law(y: np.ndarray) -> np.ndarray:
  """[-1, 1] -> raw value: the inverse of F(x) = sgn(x) ln(|x| mu + 1) / ln(M mu + 1). float64."""
  return np.sign(y) * np.expm1(np.abs(y) * np.log1p(vocabulary.M * vocabulary.MU)) / vocabulary.MU


def _round_up_to_float32(x: np.ndarray) -> np.ndarray:
  """The smallest float32 >= x, so that `value >= edge` decides as it would in exact arithmetic."""
  rounded = x.astype(np.float32)
  return np.where(rounded.astype(np.float64) < x, np.nextafter(rounded, np.float32(np.inf)), rounded)


@dataclasses.dataclass(frozen=True, eq=False)
class Bins:
  """One value's 1,024 bins.

  Attributes:
    edges: float32 [1023], ascending; bin = number of edges <= value.
    centres: float32 [1024], what a bin decodes to.
  """

  edges: np.ndarray
  centres: np.ndarray

  def encode(self, values: Any, xp: Any = np) -> Any:
    """float32 values of any shape -> bins in [0, 1023]. xp: numpy, jax.numpy or tensorflow."""
    # XLA takes subnormal numbers for zero, NumPy does not, and zero is an edge: so for us they are zero everywhere.
    values = xp.where(xp.abs(values) < SMALLEST_NORMAL, xp.zeros_like(values), values)
    return xp.searchsorted(self.edges, values, side="right")

  def decode(self, bins: Any) -> np.ndarray:
    return self.centres[bins]


def _borders_and_centres() -> tuple[np.ndarray, np.ndarray]:
  """Borders [1023] and centres [1024] of the uniform bins on [-1, 1]; float64 holds both exactly."""
  n = vocabulary.CONTINUOUS_BINS
  return np.arange(1, n) * (2.0 / n) - 1.0, (np.arange(n) + 0.5) * (2.0 / n) - 1.0


@functools.cache
def mu_law_bins() -> Bins:
  """Bins of an observation value without bounds inside [-1, 1]."""
  borders, centres = _borders_and_centres()
  return Bins(_round_up_to_float32(_inverse_mu_law(borders)), _inverse_mu_law(centres).astype(np.float32))


@functools.cache
def linear_bins(minimum: float = -1.0, maximum: float = 1.0) -> Bins:
  """Uniform bins on [minimum, maximum]: an action dimension, or an observation that lies in [-1, 1] by its spec."""
  borders, centres = _borders_and_centres()
  scale, middle = (maximum - minimum) / 2.0, (maximum + minimum) / 2.0
  decoded = np.clip((middle + scale * centres).astype(np.float32), np.float32(minimum), np.float32(maximum))
  return Bins(_round_up_to_float32(middle + scale * borders), decoded)


def check_finite(values: np.ndarray, field: str) -> None:
  """GatoError that names the field and the place when a value is NaN or infinite."""
  finite = np.isfinite(values)
  if not finite.all():
    bad = np.argwhere(~finite)
    raise GatoError(f"{field}: {values[tuple(bad[0])]} at index {bad[0].tolist()}; values must be finite")


class TextCodec:
  """SentencePiece behind two calls. The serialized model travels in checkpoints.

  Attributes:
    model: serialized. end: id of the piece that ends a document; never produced by `encode`.
    writable: bool [32,000], the ids that a text may be made of, and `end`.
  """

  def __init__(self, model: bytes):
    self.model = model
    self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    if self._processor.vocab_size() > vocabulary.TEXT_SIZE:
      raise GatoError(f"the SentencePiece model has {self._processor.vocab_size()} pieces, at most 32000 have ids")
    self.end = self._processor.eos_id()
    if self.end < 0:
      raise GatoError("the SentencePiece model has no </s> piece to end a document with; train it with eos_id=2")
    piece = self._processor
    no_text = (piece.is_control, piece.is_unknown, piece.is_unused)
    self.writable = np.zeros(vocabulary.TEXT_SIZE, bool)
    self.writable[: piece.vocab_size()] = [not any(is_(i) for is_ in no_text) for i in range(piece.vocab_size())]
    self.writable[self.end] = True

  def encode(self, text: str) -> np.ndarray:
    """int32 [n]."""
    return np.asarray(self._processor.encode(text), np.int32)

  def decode(self, ids: Any) -> str:
    return self._processor.decode([int(i) for i in ids])


def default_text_codec() -> TextCodec:
  """The model that ships with the library (text_model.md: its corpus and licence)."""
  return text_codec()


@functools.cache
def text_codec(path: str = "") -> TextCodec:
  """The SentencePiece model in a file, by default the one that ships; GatoError where it is none, or too large."""
  try:
    return TextCodec(pathlib.Path(path or _TEXT_MODEL).read_bytes())
  except (OSError, RuntimeError) as e:  # SentencePiece raises the latter for bytes that are no model
    raise GatoError(f"{path} is no SentencePiece model ({e}); python -m experiments.train_tokenizer makes one") from e
