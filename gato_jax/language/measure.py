"""A held-out document -> a row: how many bits its words cost the network, and what it wrote itself.

A text is measured as a code: all its tokens and its end are paid for, the first one, which nothing predicts, with
log2(32,000) bits. Captions are measured given their picture, and once more given another document's picture: what the
difference is, the network saw. Captions and answers are written at temperature 0.
"""

import collections
import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.documents import Document, Page, Part, Question, ask

ROWS, PICTURES = "language.jsonl", "language"  # in a workdir
TEXT_CHARACTERS = 8192  # of a text; the rest of a longer one is not read
WRITTEN_TOKENS = 48  # at most, of a caption or an answer
_PRIOR_QUESTIONS = 10_000  # read for `Prior`, drawn


@dataclasses.dataclass(frozen=True)
class Row:
  """One held-out document at one checkpoint.

  Attributes:
    task: "domain.task". step: of the checkpoint. data: fingerprint of the records.
    document: its place in the validation split. kind: of documents.KINDS.
    bits, bytes, tokens: of its text, the end included in bits and tokens; of all captions together; 0 of a question.
    bits_elsewhere: of captions, given the picture of another document.
    question: of a question. written: the caption or the answer by the network, "" of others.
    references: what people wrote, captions or answers.
    common: the most common answer of training. blind: that to this very question, or `common` where there is none.
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
  """What someone would answer who knows the training answers and sees no picture.

  Attributes:
    common: the most common answer. by_question: question -> its most common answer.
  """

  common: str
  by_question: Mapping[str, str]

  @classmethod
  def of(cls, training: Any) -> "Prior":
    """Of the questions of data.records.Documents, or 10,000 of them."""
    answers: collections.Counter[str] = collections.Counter()
    by_question: dict[str, collections.Counter[str]] = {}
    for index in sample(len(training), _PRIOR_QUESTIONS):
      document = training.document(index)
      answers[document.answer] += 1
      by_question.setdefault(document.question, collections.Counter())[document.answer] += 1
    most_common = {question: counts.most_common(1)[0][0] for question, counts in by_question.items()}
    return cls(answers.most_common(1)[0][0], most_common)

  def blind(self, question: str) -> str:
    return self.by_question.get(question, self.common)


def sample(total: int, wanted: int) -> list[int]:
  """`wanted` of `total` places, ascending, the same every time, all where there are no more; larger samples hold them.

  Drawn and not every so manyth: sets that are made by rule repeat with a period.
  """
  return sorted(np.random.default_rng(0).permutation(total)[:wanted].tolist())


def measure(reader: Any, document: Document, elsewhere: Document | None, prior: Prior | None) -> dict[str, Any]:
  """The fields of a document's row that the network has a part in.

  Args:
    reader: agent.Reader.
    elsewhere: another document of the task, of captioned pictures; None: there is none.
    prior: of questions.
  """
  if isinstance(document, str):
    text = document[:TEXT_CHARACTERS]
    return _cost(reader, [text], [], end=len(text) == len(document))
  if isinstance(document, Page):
    return _cost(reader, document.segments, [])
  if isinstance(document, Question):
    return {
      "question": document.question,
      "written": _write(reader, [document.picture, ask(document.question)]),
      "references": document.answers,
      "common": prior.common,
      "blind": prior.blind(document.question),
    }
  costs = [_cost(reader, [caption], [document.picture]) for caption in document.captions]
  found = {name: sum(cost[name] for cost in costs) for name in costs[0]}
  if elsewhere is not None:
    others = [_cost(reader, [caption], [elsewhere.picture])["bits"] for caption in document.captions]
    found["bits_elsewhere"] = sum(others)
  return found | {"written": _write(reader, [document.picture], caption=True), "references": document.captions}


def _cost(reader: Any, parts: Sequence[Part], given: Sequence[Part], end: bool = True) -> dict[str, Any]:
  """Bits, bytes and tokens of the texts in `parts`, which follow what is given."""
  reader.forget()
  reader.read(given)
  scores = reader.score(parts, end)
  size = sum(len(part.encode()) for part in parts if isinstance(part, str))
  return {"bits": float(-scores.sum() / math.log(2)), "bytes": size, "tokens": len(scores)}


def _write(reader: Any, given: Sequence[Part], caption: bool = False) -> str:
  reader.forget()
  reader.read(given)
  return reader.text.decode(list(reader.write(WRITTEN_TOKENS, temperature=0.0, seed=0, caption=caption))).strip()
