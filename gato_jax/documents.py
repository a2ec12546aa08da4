"""What has no actions: texts, captioned pictures, questions about pictures, and pages of both (GATO_SPEC section 4).

A picture is uint8 [H, W, 3] with both sides multiples of 16; they need not all be of one size.
"""

import collections
import dataclasses

import numpy as np

from gato_jax.errors import GatoError

SPLITS = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class PictureConfig:
  """How pictures are built into datasets.

  Attributes:
    side: pixels of a picture's longer side, a multiple of 16; the other is the multiple of 16 that fits it best.
  """

  side: int = 64

  def __post_init__(self):
    if self.side < 16 or self.side % 16:
      raise GatoError(f"pictures.side={self.side}: patches are 16 pixels wide, so it must be a multiple of 16")


@dataclasses.dataclass(frozen=True, eq=False)
class Captioned:
  """A picture and what people wrote under it, one caption or several."""

  picture: np.ndarray
  captions: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
  """A question about a picture; answers: of as many people as were asked, in their words."""

  picture: np.ndarray
  question: str
  answers: tuple[str, ...]

  @property
  def answer(self) -> str:
    """What most people answered, the first of several: what is trained on (our decision)."""
    return collections.Counter(self.answers).most_common(1)[0][0]


@dataclasses.dataclass(frozen=True, eq=False)
class Page:
  """Texts and pictures in the order in which they stand."""

  segments: tuple[str | np.ndarray, ...]


Document = str | Captioned | Question | Page
Part = str | np.ndarray
KINDS = {"text": str, "captions": Captioned, "questions": Question, "pages": Page}


def ask(question: str) -> str:
  """How a question stands in a sequence; the answer follows, behind a space. The paper gives no form: our decision."""
  return f"Q: {question}\nA:"


def given(document: Document) -> int:
  """How many parts of a sequence stand before what is answered: a picture and a question, nothing elsewhere."""
  return 2 if isinstance(document, Question) else 0


def sequences(document: Document) -> list[tuple[Part, ...]]:
  """What is learned from a document, in the order of its tokens: one sequence, or one for each caption."""
  if isinstance(document, str):
    return [(document,)]
  if isinstance(document, Captioned):
    return [(document.picture, caption) for caption in document.captions]
  if isinstance(document, Question):
    return [(document.picture, ask(document.question), f" {document.answer}")]
  return [document.segments]
