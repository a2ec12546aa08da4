"""Held-out texts, captions and answers as numbers with bootstrap intervals over documents.

Captions are scored by sacrebleu, in lower case: chrF of each caption against all that people wrote, averaged, and
BLEU-4 of all together where captions are long enough to have four words. CIDEr, usual for COCO, is left out: its
weights come from the captions measured, so a few hundred of them give numbers that compare with nothing published, and
pycocoevalcap (last released in 2020) cuts words by a Java program.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from sacrebleu import metrics

from gato_jax.language import measure, vqa
from gato_jax.report.scores import RESAMPLES, percentiles
from gato_jax.tokens import vocabulary

_EXCHANGES = 10  # other pictures whose captions a caption is compared with
_BLEU_WORDS = 4
_EXCHANGED = "against what people wrote of other pictures"
_BY_QUESTION = "most common training answer to the same question"


@dataclasses.dataclass(frozen=True)
class Score:
  """One measure of one task.

  Attributes:
    task: "domain.task". name: of the measure, with its unit. documents: how many were measured.
    value, low, high: with a 95 % interval, documents resampled; NaN without spread.
    chance: what knows nothing of the document; NaN where there is no such number. chance_of: what that is.
    blind: what does not see the picture. blind_of: what that is, "" where there is no picture.
    lower_is_better: of bits.
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
    """The whole interval, or the value where there is none, is better than chance and than not seeing the picture."""
    others = [other for other in (self.chance, self.blind) if not math.isnan(other)]
    if self.lower_is_better:
      return all((self.value if math.isnan(self.high) else self.high) < other for other in others)
    return all((self.value if math.isnan(self.low) else self.low) > other for other in others)


def newest(rows: Iterable[measure.Row], step: int | None = None) -> dict[str, list[measure.Row]]:
  """Task -> its rows at `step`, by default each task's newest, of the data measured last, by document."""
  by_task: dict[str, list[measure.Row]] = {}
  for row in rows:
    if step is None or row.step == step:
      by_task.setdefault(row.task, []).append(row)
  found = {}
  for task, of_task in sorted(by_task.items()):
    last = max(row.step for row in of_task)
    of_step = [row for row in of_task if row.step == last]
    kept = {row.document: row for row in of_step if row.data == of_step[-1].data}
    found[task] = [kept[document] for document in sorted(kept)]
  return found


def scores(by_task: dict[str, list[measure.Row]]) -> list[Score]:
  """All measures of the tasks' rows, as `newest` has them."""
  of_kind = {"text": _bits, "pages": _bits, "captions": _captions, "questions": _questions}
  return [score for rows in by_task.values() for score in of_kind[rows[0].kind](rows)]


def _bits(rows: Sequence[measure.Row]) -> list[Score]:
  size = np.array([row.bytes for row in rows])
  bits, tokens, elsewhere = (np.array([getattr(row, n) for row in rows]) for n in ("bits", "tokens", "bits_elsewhere"))
  uniform = float(tokens.sum() * math.log2(vocabulary.TEXT_SIZE) / size.sum())
  interval = _interval(rows, lambda chosen: bits[chosen].sum() / size[chosen].sum())
  score = _score(rows, "bits per byte", bits.sum() / size.sum(), interval, uniform, "all pieces equally likely")
  seen = elsewhere > 0
  if seen.any():
    blind = float(elsewhere[seen].sum() / size[seen].sum())
    score = dataclasses.replace(score, blind=blind, blind_of="given another picture")
  return [dataclasses.replace(score, lower_is_better=True)]


def _captions(rows: Sequence[measure.Row]) -> list[Score]:
  written, references = [row.written for row in rows], [list(row.references) for row in rows]
  exchanged = _exchanges(len(rows))
  by_caption = np.array([_chrf(w, r) for w, r in zip(written, references, strict=True)])
  blind = float(np.mean([_chrf(written[i], references[j]) for i, j in exchanged])) if exchanged else math.nan
  interval = _interval(rows, lambda chosen: by_caption[chosen].mean())
  found = _bits(rows)
  found.append(_score(rows, "chrF", by_caption.mean(), interval, blind=blind, blind_of=_EXCHANGED))
  words = [len(reference.split()) for captions in references for reference in captions]
  if np.median(words) >= _BLEU_WORDS:
    statistics = _bleu_statistics(written, references)
    others = _bleu_statistics([written[i] for i, _ in exchanged], [references[j] for _, j in exchanged])
    interval = _interval(rows, lambda chosen: _bleu(statistics[chosen]))
    blind = _bleu(others) if exchanged else math.nan
    found.append(_score(rows, "BLEU-4", _bleu(statistics), interval, blind=blind, blind_of=_EXCHANGED))
  return found


def _questions(rows: Sequence[measure.Row]) -> list[Score]:
  common = f"always {rows[-1].common!r}, the most common training answer"
  found = []
  for name, right in (("exact match %", _exact), ("VQA accuracy %", vqa.accuracy)):
    ours, chance, blind = (
      100 * np.array([right(getattr(row, said), row.references) for row in rows])
      for said in ("written", "common", "blind")
    )
    interval = _interval(rows, lambda chosen, ours=ours: ours[chosen].mean())
    found.append(_score(rows, name, ours.mean(), interval, chance.mean(), common, blind.mean(), _BY_QUESTION))
  return found


def _exact(answer: str, references: Sequence[str]) -> float:
  """Letter for letter what most people said, the first of several: what is trained on."""
  return float(answer.strip() == max(references, key=references.count).strip())


def _exchanges(n: int) -> list[tuple[int, int]]:
  """Pairs of a caption and another document, each caption with up to ten."""
  shifts = sorted({s * n // (_EXCHANGES + 1) for s in range(1, _EXCHANGES + 1)} - {0})
  return [(i, (i + shift) % n) for shift in shifts for i in range(n)]


def _chrf(written: str, references: list[str]) -> float:
  return metrics.CHRF(lowercase=True).sentence_score(written, references).score


def _bleu_statistics(written: Sequence[str], references: Sequence[list[str]]) -> np.ndarray:
  """int [n, 10]: matches and counts of 1 to 4 words, and both lengths: sums of them give a corpus' BLEU."""
  found = []
  for one, of_one in zip(written, references, strict=True):
    score = metrics.BLEU(lowercase=True, effective_order=True).sentence_score(one, of_one)
    found.append([*score.counts, *score.totals, score.sys_len, score.ref_len])
  return np.array(found, int).reshape(-1, 10)


def _bleu(statistics: np.ndarray) -> float:
  total = statistics.sum(axis=0).tolist()
  return metrics.BLEU.compute_bleu(total[:4], total[4:8], *total[8:], smooth_method="exp").score


def _interval(rows: Sequence[measure.Row], statistic: Callable[[np.ndarray], float]) -> tuple[float, float]:
  """Percentiles of a statistic of chosen documents (places [n]); NaN without spread. Draws are the task's own."""
  draws = np.random.default_rng(list(rows[0].task.encode()))
  resampled = np.array([statistic(draws.integers(len(rows), size=len(rows))) for _ in range(RESAMPLES)])
  return percentiles(resampled) if np.ptp(resampled) else (math.nan, math.nan)


def _score(
  rows: Sequence[measure.Row], name: str, value: float, interval: tuple[float, float], *blind, **more
) -> Score:
  return Score(rows[0].task, name, len(rows), float(value), *map(float, interval), *blind, **more)
