"""Measures one document of the validation split: the bits of its words, and what is written.

A text is measured as a code: all its tokens and its end are paid for, the first token, which
nothing predicts, with log2(32,000) bits. Captions are measured given their image, and once more
given another document's image; the difference is what the network gets from the image. Captions
and answers are written at temperature 0.
"""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.documents import CaptionedImage, Document, Page, Part, Question, ask

# File of the rows and directory of the images, in a workdir.
ROWS, IMAGES = "language.jsonl", "language"

TEXT_CHARACTERS = 8192  # a longer text is cut here
WRITTEN_TOKENS = 48  # limit of a caption or an answer
_PRIOR_QUESTIONS = 10_000  # training questions that `Prior` reads


@dataclasses.dataclass(frozen=True)
class DocumentRow:
  """One document of the validation split at one checkpoint.

  Attributes:
    task: "domain.task".
    step: Training step of the checkpoint.
    data: Fingerprint of the records.
    document: Index of the document in the validation split.
    kind: Kind of the document, of documents.KINDS.
    bits: Bits that the text costs, its end included; those of all captions together; 0 for a
      question.
    bytes: Bytes of the text.
    tokens: Tokens of the text, its end included.
    bits_elsewhere: Bits that the captions cost given the image of another document.
    question: The question; "" for other kinds.
    written: The caption or answer that the network wrote; "" for other kinds.
    references: Captions or answers that people wrote.
    common: The most common answer in training; "" for other kinds.
    blind: The most common training answer to this very question, or `common` where there is none.
  """

  task: str
  step: int
  data: str
  document: int
  kind: str
  bits: float = 0.0
  bytes: int = 0
  tokens: int = 0
  bits_elsewhere: float = 0.0
  question: str = ""
  written: str = ""
  references: Sequence[str] = ()
  common: str = ""
  blind: str = ""


@dataclasses.dataclass(frozen=True)
class Prior:
  """The best answers of someone who knows the training answers and sees no image.

  Attributes:
    common: The most common answer.
    by_question: Question -> its most common answer.
  """

  common: str
  by_question: Mapping[str, str]

  @classmethod
  def of(cls, training: Any) -> "Prior":
    """Returns the prior of the questions of a records.DocumentRecords, or of 10,000 of them."""
    answers: collections.Counter[str] = collections.Counter()
    by_question: dict[str, collections.Counter[str]] = {}
    for index in sample(len(training), _PRIOR_QUESTIONS):
      document = training.document(index)
      answers[document.answer] += 1
      by_question.setdefault(document.question, collections.Counter())[document.answer] += 1

    most_common = {
      question: counts.most_common(1)[0][0] for question, counts in by_question.items()
    }
    return cls(answers.most_common(1)[0][0], most_common)

  def blind(self, question: str) -> str:
    """Returns the most common answer to a question, or to all if it was never asked."""
    return self.by_question.get(question, self.common)


def sample(total: int, size: int) -> list[int]:
  """Returns `size` of `total` indices in ascending order, or all where there are no more.

  The sample is the same every time, and larger samples contain smaller ones. It is random and not
  every n-th index, since sets of documents that are made by rule repeat with a period.
  """
  # A smaller sample is a prefix of the same permutation.
  permutation = np.random.default_rng(0).permutation(total)

  return sorted(permutation[:size].tolist())


def measure(
  reader: Any, document: Document, other_document: Document | None, prior: Prior | None
) -> dict[str, Any]:
  """Returns the fields of a document's row that depend on the network.

  Args:
    reader: An agent.TextGenerator.
    document: The document.
    other_document: For captioned images: another document of the task; None if there is none.
    prior: For questions: the prior of their training split.
  """
  if isinstance(document, str):
    text = document[:TEXT_CHARACTERS]
    # A text that was cut does not end there.
    return _cost(reader, [text], given=[], end=len(text) == len(document))

  if isinstance(document, Page):
    return _cost(reader, document.segments, given=[])

  if isinstance(document, Question):
    assert prior is not None
    return {
      "question": document.question,
      "written": _write(reader, [document.image, ask(document.question)]),
      "references": document.answers,
      "common": prior.common,
      "blind": prior.blind(document.question),
    }

  # Every caption is a document of its own, with the image before it.
  costs = [_cost(reader, [caption], given=[document.image]) for caption in document.captions]
  fields: dict[str, Any] = {name: sum(cost[name] for cost in costs) for name in costs[0]}

  if other_document is not None:
    assert isinstance(other_document, CaptionedImage)
    fields["bits_elsewhere"] = sum(
      _cost(reader, [caption], given=[other_document.image])["bits"]
      for caption in document.captions
    )

  fields["written"] = _write(reader, [document.image], caption=True)
  fields["references"] = document.captions

  return fields


def _cost(
  reader: Any, parts: Sequence[Part], given: Sequence[Part], end: bool = True
) -> dict[str, Any]:
  """Returns bits, bytes and tokens of the texts in `parts`, which follow the parts `given`."""
  reader.forget()
  reader.read(given)
  log_probabilities = reader.score(parts, end)

  return {
    "bits": float(-log_probabilities.sum() / math.log(2)),
    "bytes": sum(len(part.encode()) for part in parts if isinstance(part, str)),
    "tokens": len(log_probabilities),
  }


def _write(reader: Any, given: Sequence[Part], caption: bool = False) -> str:
  """Returns the most likely text that follows the parts `given`."""
  reader.forget()
  reader.read(given)
  ids = reader.write(WRITTEN_TOKENS, temperature=0.0, seed=0, caption=caption)

  return reader.text.decode(list(ids)).strip()
