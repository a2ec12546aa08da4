"""Data without actions: texts, captioned images, questions about images, and pages of both.

The vision and language datasets of Reed et al. 2022, section 3.2, have these forms. An image is
uint8 [H, W, 3] with both sides multiples of 16; images of one dataset may differ in size.
"""

import collections
import dataclasses

import numpy as np

from gato_jax.errors import GatoError

SPLITS = ("train", "validation")


@dataclasses.dataclass(frozen=True)
class ImageConfig:
  """Settings of the images that are built into datasets.

  Attributes:
    side: Pixels of an image's longer side, a multiple of 16. The other side becomes the multiple of
      16 that preserves the aspect ratio best.
  """

  side: int = 64

  def __post_init__(self):
    if self.side < 16 or self.side % 16:
      raise GatoError(
        f"images.side={self.side}: patches are 16 pixels wide, so it must be a multiple of 16"
      )


@dataclasses.dataclass(frozen=True, eq=False)
class CaptionedImage:
  """An image with one or several captions.

  Attributes:
    image: uint8 [H, W, 3].
    captions: One text per caption.
  """

  image: np.ndarray
  captions: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
  """A question about an image.

  Attributes:
    image: uint8 [H, W, 3].
    question: The question as asked.
    answers: One answer per annotator, in their own words.
  """

  image: np.ndarray
  question: str
  answers: tuple[str, ...]

  @property
  def answer(self) -> str:
    """The most frequent answer, which is trained on; the first of several (docs/paper.md)."""
    # `most_common` keeps the order of first occurrence among equal counts.
    counts = collections.Counter(self.answers)
    return counts.most_common(1)[0][0]


@dataclasses.dataclass(frozen=True, eq=False)
class Page:
  """A page of texts and images.

  Attributes:
    segments: The texts and images in reading order.
  """

  segments: tuple[str | np.ndarray, ...]


Document = str | CaptionedImage | Question | Page
Part = str | np.ndarray
KINDS = {"text": str, "captions": CaptionedImage, "questions": Question, "pages": Page}


def ask(question: str) -> str:
  """Returns a question as it stands in a sequence; the answer follows behind a space.

  The paper gives no format: this one is our decision (docs/paper.md).
  """
  return f"Q: {question}\nA:"


def given(document: Document) -> int:
  """Returns the number of parts of a sequence that precede the answer.

  These are the image and the question, or nothing for documents of other kinds.
  """
  return 2 if isinstance(document, Question) else 0


def sequences(document: Document) -> list[tuple[Part, ...]]:
  """Returns the sequences that are learned from a document, their parts in the order of the tokens.

  A captioned image gives one sequence for each caption, any other document gives one.
  """
  if isinstance(document, str):
    return [(document,)]

  if isinstance(document, CaptionedImage):
    return [(document.image, caption) for caption in document.captions]

  if isinstance(document, Question):
    return [(document.image, ask(document.question), f" {document.answer}")]

  return [document.segments]
