"""Errors of actions along held-out recorded episodes, with bootstrap intervals over episodes, and their table."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
import rich.console
import rich.table

from gato_jax.recorded.rows import Row
from gato_jax.report.scores import RESAMPLES, Interval, percentiles
from gato_jax.report.table import MIN_WIDTH


@dataclasses.dataclass(frozen=True)
class Score:
  """One number of a recorded task's action.

  Attributes:
    task: "domain.task". step: of the checkpoint. number: which of the action's numbers, from 0.
    episodes, steps: how many were measured.
    discrete: the errors are shares of wrong choices, else mean absolute errors in the action's units.
    error, low, high: of the network, with a 95 % interval, episodes resampled; NaN without spread.
    copied, constant: of the last recorded action, and of the mean action or the most frequent choice.
    temperature: of the network's actions.
  """

  task: str
  step: int
  number: int
  episodes: int
  steps: int
  discrete: bool
  error: float
  low: float
  high: float
  copied: float
  constant: float
  temperature: float

  @property
  def beats(self) -> bool:
    """The whole interval, or the error where there is none, is below both others."""
    return (self.error if math.isnan(self.high) else self.high) < min(self.copied, self.constant)


def scores(rows: Iterable[Row], step: int | None = None) -> list[Score]:
  """A score for each number of each task's action.

  Args:
    step: of the checkpoint; by default each task's newest. Of its rows those count that are of the same data and the
      same temperature as the one measured last.
  """
  by_task: dict[str, list[Row]] = {}
  for row in rows:
    if step is None or row.step == step:
      by_task.setdefault(row.task, []).append(row)

  found = []
  for task, of_task in sorted(by_task.items()):
    newest = max(row.step for row in of_task)
    of_step = [row for row in of_task if row.step == newest]
    last = of_step[-1]
    found += _of_task(task, [r for r in of_step if (r.data, r.temperature) == (last.data, last.temperature)])
  return found


def _of_task(task: str, rows: Sequence[Row]) -> list[Score]:
  steps = np.array([row.steps for row in rows])
  errors, copied, constant = (
    np.array([getattr(row, name) for row in rows]) for name in ("error", "copied", "constant")
  )

  # Each step counts the same, whichever episode it is of. The draws are the task's own.
  draws = np.random.default_rng(list(task.encode())).integers(len(rows), size=(RESAMPLES, len(rows)))
  resampled = np.stack([np.average(errors[chosen], axis=0, weights=steps[chosen]) for chosen in draws])
  low, high = percentiles(resampled)
  means = [np.average(each, axis=0, weights=steps) for each in (errors, copied, constant)]

  found = []
  for number, (error, of_copies, of_constant) in enumerate(zip(*means, strict=True)):
    interval: Interval = (math.nan, math.nan)
    if np.ptp(resampled[:, number]):
      interval = float(low[number]), float(high[number])
    found.append(
      Score(
        task=task,
        step=rows[0].step,
        number=number,
        episodes=len(rows),
        steps=int(steps.sum()),
        discrete=rows[0].discrete,
        error=float(error),
        low=interval[0],
        high=interval[1],
        copied=float(of_copies),
        constant=float(of_constant),
        temperature=rows[0].temperature,
      )
    )
  return found


def cells(score: Score) -> list[str]:
  """A line of the table: task, number, error, interval, copy, constant, episodes."""

  def number(value: float) -> str:
    return f"{100 * value:.1f} %" if score.discrete else f"{value:.4g}"

  interval = "no spread" if math.isnan(score.low) else f"[{number(score.low)}, {number(score.high)}]"
  others = (number(score.copied), number(score.constant))
  return [score.task, str(score.number), number(score.error), interval, *others, str(score.episodes)]


HEADINGS = ("task", "number", "error", "95 %", "last action", "mean action", "episodes")


def note(found: Sequence[Score]) -> str:
  """What the columns are, and of which actions."""
  temperatures = " and ".join(f"{t:g}" for t in sorted({score.temperature for score in found}))
  steps = sum(score.steps for score in found if not score.number)
  return (
    f"Actions at temperature {temperatures} on {steps} steps of recorded episodes held out of training, given what was "
    "recorded before. Error: mean absolute error of each number of the action, in its units, or the share of wrong "
    "choices of a discrete one; beside it that of the last recorded action and that of the training episodes' mean "
    "action, or most frequent choice. Green: the whole interval is below both"
  )


def show(found: Sequence[Score], console=None) -> None:
  """Prints a line for each number of each task's action."""
  console = console or rich.console.Console()
  if console.width < MIN_WIDTH:
    console = rich.console.Console(file=console.file, width=MIN_WIDTH)
  table = rich.table.Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
  for name in HEADINGS:
    table.add_column(name, justify="left" if name == "task" else "right", no_wrap=True)
  for score in found:
    table.add_row(*(cell.replace("[", r"\[") for cell in cells(score)), style="green" if score.beats else "")
  console.print(table)
  console.print(note(found), highlight=False, markup=False)
