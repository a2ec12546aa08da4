"""Scores of held-out texts, captions and answers, with bootstrap intervals over documents.

Captions are scored by sacrebleu, in lower case: chrF of each caption against all that people
wrote, averaged, and BLEU-4 of all captions together if they are long enough to have four words.
CIDEr, the usual measure for COCO, is left out. Its weights come from the captions measured, so
that numbers of a few hundred captions do not compare with published ones. And pycocoevalcap, last
released in 2020, needs Java to split words.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from sacrebleu import metrics

from experiments.analysis.language import measure, vqa
from gato_jax.evaluate.scores import RESAMPLES, Interval, percentiles
from gato_jax.tokens import vocabulary

_EXCHANGES = 10  # other images whose captions a caption is compared with
_BLEU_WORDS = 4
_EXCHANGED = "against what people wrote about other images"
_BY_QUESTION = "most common training answer to the same question"

Rows = Sequence[measure.DocumentRow]


@dataclasses.dataclass(frozen=True)
class LanguageScore:
  """One measure of one task.

  Attributes:
    task: "domain.task".
    name: Of the measure, with its unit.
    documents: Number of documents measured.
    value: Of the network.
    low: Lower end of the value's 95 % interval, documents resampled; NaN without spread.
    high: Upper end of that interval.
    chance: The value without knowledge of the document; NaN if there is none.
    chance_of: Description of `chance`.
    blind: The value without seeing the image; NaN if there is none.
    blind_of: Description of `blind`, "" without an image.
    lower_is_better: True for bits.
  """

  task: str
  name: str
  documents: int
  value: float
  low: float
  high: float
  chance: float = math.nan
  chance_of: str = ""
  blind: float = math.nan
  blind_of: str = ""
  lower_is_better: bool = False

  @property
  def beats(self) -> bool:
    """True if the whole interval, or the value without one, is better than chance and blind."""
    baselines = [value for value in (self.chance, self.blind) if not math.isnan(value)]
    if self.lower_is_better:
      worst = self.value if math.isnan(self.high) else self.high
      return all(worst < baseline for baseline in baselines)

    worst = self.value if math.isnan(self.low) else self.low
    return all(worst > baseline for baseline in baselines)


def newest(
  rows: Iterable[measure.DocumentRow], step: int | None = None
) -> dict[str, list[measure.DocumentRow]]:
  """Returns task -> its rows at `step`, of the data measured last, ordered by document.

  By default the step is each task's newest.
  """
  by_task: dict[str, list[measure.DocumentRow]] = {}
  for row in rows:
    if step is None or row.step == step:
      by_task.setdefault(row.task, []).append(row)

  newest_rows = {}
  for task, of_task in sorted(by_task.items()):
    last = max(row.step for row in of_task)
    of_step = [row for row in of_task if row.step == last]
    # Rows of rebuilt data are of other documents. A document that was measured twice counts once.
    by_document = {row.document: row for row in of_step if row.data == of_step[-1].data}
    newest_rows[task] = [by_document[document] for document in sorted(by_document)]

  return newest_rows


def scores(by_task: Mapping[str, Rows]) -> list[LanguageScore]:
  """Returns all measures of the tasks' rows, as `newest` gives them."""
  measures: dict[str, Callable[[Rows], list[LanguageScore]]] = {
    "text": _score_bits,
    "pages": _score_bits,
    "captions": _score_captions,
    "questions": _score_questions,
  }
  return [score for rows in by_task.values() for score in measures[rows[0].kind](rows)]


def _score_bits(rows: Rows) -> list[LanguageScore]:
  size = np.array([row.bytes for row in rows])
  bits = np.array([row.bits for row in rows])
  tokens = np.array([row.tokens for row in rows])
  bits_elsewhere = np.array([row.bits_elsewhere for row in rows])

  # A byte counts the same in a short document and in a long one.
  low, high = _interval(rows, lambda chosen: bits[chosen].sum() / size[chosen].sum())
  score = LanguageScore(
    task=rows[0].task,
    name="bits per byte",
    documents=len(rows),
    value=float(bits.sum() / size.sum()),
    low=low,
    high=high,
    chance=float(tokens.sum() * math.log2(vocabulary.TEXT_SIZE) / size.sum()),
    chance_of="all pieces equally likely",
    lower_is_better=True,
  )

  # Only documents with an image were measured with another image too.
  has_image = bits_elsewhere > 0
  if has_image.any():
    blind = float(bits_elsewhere[has_image].sum() / size[has_image].sum())
    score = dataclasses.replace(score, blind=blind, blind_of="given another image")
  return [score]


def _score_captions(rows: Rows) -> list[LanguageScore]:
  written = [row.written for row in rows]
  references = [list(row.references) for row in rows]
  # Captions against the references of other images: the score without seeing the image.
  exchanges = _exchanges(len(rows))

  caption_chrf = np.array([_chrf(w, r) for w, r in zip(written, references, strict=True)])
  low, high = _interval(rows, lambda chosen: caption_chrf[chosen].mean())
  blind = math.nan
  if exchanges:
    blind = float(np.mean([_chrf(written[i], references[j]) for i, j in exchanges]))
  chrf = LanguageScore(
    task=rows[0].task,
    name="chrF",
    documents=len(rows),
    value=float(caption_chrf.mean()),
    low=low,
    high=high,
    blind=blind,
    blind_of=_EXCHANGED,
  )
  caption_scores = [*_score_bits(rows), chrf]

  # Without captions of four words, all counts of four words are 0.
  words = [len(reference.split()) for captions in references for reference in captions]
  if np.median(words) >= _BLEU_WORDS:
    statistics = _bleu_statistics(written, references)
    low, high = _interval(rows, lambda chosen: _bleu(statistics[chosen]))
    blind = math.nan
    if exchanges:
      exchanged = _bleu_statistics(
        [written[i] for i, _ in exchanges], [references[j] for _, j in exchanges]
      )
      blind = _bleu(exchanged)

    value = _bleu(statistics)
    bleu = dataclasses.replace(chrf, name="BLEU-4", value=value, low=low, high=high, blind=blind)
    caption_scores.append(bleu)

  return caption_scores


def _score_questions(rows: Rows) -> list[LanguageScore]:
  return [
    _score_answers(rows, "exact match %", accuracy=_exact_match),
    _score_answers(rows, "VQA accuracy %", accuracy=vqa.accuracy),
  ]


def _score_answers(
  rows: Rows, name: str, accuracy: Callable[[str, Sequence[str]], float]
) -> LanguageScore:
  """Returns the accuracy of the network's answers, in per cent, beside two that see no image."""
  network, common, by_question = (
    100 * np.array([accuracy(getattr(row, answer), row.references) for row in rows])
    for answer in ("written", "common", "blind")
  )

  low, high = _interval(rows, lambda chosen: network[chosen].mean())
  return LanguageScore(
    task=rows[0].task,
    name=name,
    documents=len(rows),
    value=float(network.mean()),
    low=low,
    high=high,
    chance=float(common.mean()),
    chance_of=f"always {rows[-1].common!r}, the most common training answer",
    blind=float(by_question.mean()),
    blind_of=_BY_QUESTION,
  )


def _exact_match(answer: str, references: Sequence[str]) -> float:
  """Returns 1 if the answer is the most frequent reference, letter for letter.

  Of several equally frequent ones, the first counts: the one that is trained on.
  """
  return float(answer.strip() == max(references, key=references.count).strip())


def _exchanges(n: int) -> list[tuple[int, int]]:
  """Returns pairs of a caption and another document, up to ten for each of `n` captions."""
  # Shifts that are spread evenly over the documents; 0 would be the caption's own document.
  shifts = sorted({s * n // (_EXCHANGES + 1) for s in range(1, _EXCHANGES + 1)} - {0})
  return [(index, (index + shift) % n) for shift in shifts for index in range(n)]


def _chrf(written: str, references: Sequence[str]) -> float:
  return metrics.CHRF(lowercase=True).sentence_score(written, references).score


def _bleu_statistics(written: Sequence[str], references: Sequence[Sequence[str]]) -> np.ndarray:
  """Returns the statistics of each caption, whose sum gives the BLEU of a corpus.

  int [n, 10]: matches of 1 to 4 words, counts of 1 to 4 words, and both lengths.
  """
  statistics = []
  for caption, caption_references in zip(written, references, strict=True):
    bleu = metrics.BLEU(lowercase=True, effective_order=True)
    score = bleu.sentence_score(caption, caption_references)
    statistics.append([*score.counts, *score.totals, score.sys_len, score.ref_len])

  # Without captions numpy would give an array of shape [0].
  return np.array(statistics, int).reshape(-1, 10)


def _bleu(statistics: np.ndarray) -> float:
  total = statistics.sum(axis=0).tolist()
  bleu = metrics.BLEU.compute_bleu(
    correct=total[:4],
    total=total[4:8],
    sys_len=total[8],
    ref_len=total[9],
    smooth_method="exp",
  )
  return bleu.score


def _interval(rows: Rows, statistic: Callable[[np.ndarray], float]) -> Interval:
  """Returns the bootstrap interval of a statistic of chosen documents, given as indices [n].

  NaN without spread. The task seeds its own draws.
  """
  random = np.random.default_rng(list(rows[0].task.encode()))
  resampled = np.array(
    [statistic(random.integers(len(rows), size=len(rows))) for _ in range(RESAMPLES)]
  )
  if not np.ptp(resampled):
    return math.nan, math.nan

  low, high = percentiles(resampled)
  return float(low), float(high)
