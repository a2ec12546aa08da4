"""Predicts the losses of runs before they are trained, and keeps when that was.

A line of <workdir>/predictions.jsonl is written once and never changed: one per run, domain and
meaning of N. The report puts the measured loss beside it.
"""

import dataclasses
import datetime
import pathlib
from collections.abc import Callable, Sequence

from experiments.analysis.scaling import analysis, law
from experiments.analysis.scaling.batches import BatchContent
from experiments.analysis.scaling.points import ScalingPoint
from experiments.analysis.scaling.runs import SweepConfig, SweepRun
from gato_jax.env import results
from gato_jax.storage import paths

FILE = "predictions.jsonl"
_DRAWS = 200


@dataclasses.dataclass(frozen=True)
class PredictedLoss:
  """A prediction.

  Attributes:
    time: Of the prediction, UTC, ISO 8601.
    run: Name of the run.
    domain: A domain, a modality, or points.POOLED.
    size: The element of analysis.SIZES that N means.
    n: Parameters of the run.
    tokens: Tokens that count, `law.effective_tokens`.
    loss: Predicted loss, nats per target.
    low: Lower end of its interval (bootstrap.LEVEL).
    high: Upper end.
    fitted: Number of runs that the law was fitted to.
  """

  time: str
  run: str
  domain: str
  size: str
  n: int
  tokens: float
  loss: float
  low: float
  high: float
  fitted: int


def read(workdir: pathlib.Path) -> list[PredictedLoss]:
  """Returns all predictions of a sweep, in the order in which they were made."""
  return list(results.read(paths.path(workdir) / FILE, PredictedLoss))


def predict(
  workdir: pathlib.Path,
  runs: Sequence[SweepRun],
  measured: Sequence[ScalingPoint],
  content: BatchContent,
  config: SweepConfig,
  parameters: Callable[[SweepRun], tuple[int, int]],
) -> int:
  """Writes the predictions of runs that have none.

  Args:
    workdir: Of the sweep.
    runs: The runs, none of which is trained.
    measured: Points of the trained runs; those of predicted budgets are not fitted.
    content: Of the sweep's batches.
    config: The sweep.
    parameters: Run -> (all parameters, those of tables).

  Returns:
    The number of lines written.
  """
  known = {(row.run, row.domain, row.size) for row in read(workdir)}
  new = [run for run in runs if run.name not in {name for name, _, _ in known}]
  if not new:
    return 0

  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  rows = []
  for size in analysis.SIZES:
    for series in analysis.analyse(
      measured, analysis.predicted_budgets(config), draws=_DRAWS, size=size
    ):
      if series.fit is None:
        continue
      for run in new:
        total, tables = parameters(run)
        n = total - tables if size == analysis.SIZES[0] else total
        steps = run.steps(content.tokens)
        d = law.effective_tokens(steps * content.tokens, content.unique_tokens(steps))
        loss, low, high = series.fit.prediction(n, float(d))
        rows.append(
          PredictedLoss(
            now, run.name, series.domain, size, n, float(d), loss, low, high, len(series.fitted)
          )
        )

  results.append(paths.path(workdir) / FILE, rows)
  return len(rows)
