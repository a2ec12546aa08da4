"""Errors of actions along held-out recorded episodes, with bootstrap intervals over episodes."""

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import rich.console

from experiments.analysis.recorded.rows import ActionErrorRow
from experiments.analysis.report import console as terminal
from experiments.analysis.report import drawing
from gato_jax.evaluate.scores import RESAMPLES, Interval, percentiles

HEADINGS = ("task", "number", "error", "95 %", "last action", "mean action", "episodes")


@dataclasses.dataclass(frozen=True)
class ActionScore:
  """The error of one number of a recorded task's action.

  Attributes:
    task: "domain.task".
    step: Training step of the checkpoint.
    number: Index of the number in the action, from 0.
    episodes: Number of episodes measured.
    steps: Number of steps measured.
    discrete: True if errors are shares of wrong choices. Otherwise they are mean absolute errors
      in the action's units.
    error: Of the network.
    low: Lower end of the error's 95 % interval, episodes resampled; NaN without spread.
    high: Upper end of that interval.
    copied: Error of the last recorded action.
    constant: Error of the mean action, or of the most frequent choice.
    temperature: At which the network acted.
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
    """True if the whole interval, or the error without one, is below both baselines."""
    largest = self.error if math.isnan(self.high) else self.high
    return largest < min(self.copied, self.constant)


def scores(rows: Iterable[ActionErrorRow], step: int | None = None) -> list[ActionScore]:
  """Returns a score for each number of each task's action.

  Args:
    rows: All that was measured.
    step: Training step of the checkpoint; by default each task's newest. Of its rows, those count
      that have the same data and temperature as the one measured last.
  """
  by_task: dict[str, list[ActionErrorRow]] = {}
  for row in rows:
    if step is None or row.step == step:
      by_task.setdefault(row.task, []).append(row)

  task_scores = []
  for _, of_task in sorted(by_task.items()):
    newest = max(row.step for row in of_task)
    of_step = [row for row in of_task if row.step == newest]
    last = of_step[-1]
    comparable = [
      row for row in of_step if (row.data, row.temperature) == (last.data, last.temperature)
    ]
    task_scores += _score_task(comparable)

  return task_scores


def _score_task(rows: Sequence[ActionErrorRow]) -> list[ActionScore]:
  task = rows[0].task
  steps = np.array([row.steps for row in rows])
  # Each [episodes, numbers of the action].
  errors, copied, constant = (
    np.array([getattr(row, name) for row in rows]) for name in ("error", "copied", "constant")
  )

  # Each step counts the same, whichever episode it is of. The task seeds its own draws, so that
  # its interval does not depend on other tasks.
  random = np.random.default_rng(list(task.encode()))
  draws = random.integers(len(rows), size=(RESAMPLES, len(rows)))
  resampled = np.stack(
    [np.average(errors[chosen], axis=0, weights=steps[chosen]) for chosen in draws]
  )
  low, high = (np.asarray(end) for end in percentiles(resampled))

  mean_error, mean_copied, mean_constant = (
    np.average(values, axis=0, weights=steps) for values in (errors, copied, constant)
  )

  task_scores = []
  for number in range(len(mean_error)):
    # Without spread, percentiles would give an interval of length 0.
    interval: Interval = (math.nan, math.nan)
    if np.ptp(resampled[:, number]):
      interval = float(low[number]), float(high[number])

    task_scores.append(
      ActionScore(
        task=task,
        step=rows[0].step,
        number=number,
        episodes=len(rows),
        steps=int(steps.sum()),
        discrete=rows[0].discrete,
        error=float(mean_error[number]),
        low=interval[0],
        high=interval[1],
        copied=float(mean_copied[number]),
        constant=float(mean_constant[number]),
        temperature=rows[0].temperature,
      )
    )
  return task_scores


def draw_by_step(rows: Sequence[ActionErrorRow], path: pathlib.Path) -> bool:
  """Draws each task's error against the training step, as a share of the constant action's.

  Returns:
    False where no task was measured at two checkpoints; then nothing is drawn.
  """
  steps: dict[str, set[int]] = {}
  for row in rows:
    steps.setdefault(row.task, set()).add(row.step)
  several = {task: sorted(of_task) for task, of_task in sorted(steps.items()) if len(of_task) > 1}
  if not several:
    return False

  figure, axes = drawing.new_axes()
  for (task, of_task), style in zip(several.items(), drawing.palette(len(several)), strict=True):
    shares = []
    for step in of_task:
      numbers = scores([row for row in rows if row.task == task], step)
      shares.append(np.mean([n.error / n.constant for n in numbers if n.constant]))
    axes.plot(of_task, shares, style.line, color=style.color, marker="o", label=task)

  axes.axhline(1.0, color=drawing.INK, linewidth=0.8, linestyle=drawing.DASHED)
  axes.set_ylim(bottom=0)
  drawing.use_units(axes)
  axes.set_xlabel("training steps")
  axes.set_ylabel("error, share of the mean action's")
  axes.legend(**drawing.BESIDE)
  drawing.save(figure, path, dpi=100)
  return True


def cells(score: ActionScore) -> list[str]:
  """Returns a row of the table, one cell for each of HEADINGS."""

  def number(value: float) -> str:
    return f"{100 * value:.1f} %" if score.discrete else f"{value:.4g}"

  interval = "no spread"
  if not math.isnan(score.low):
    interval = f"[{number(score.low)}, {number(score.high)}]"

  return [
    score.task,
    str(score.number),
    number(score.error),
    interval,
    number(score.copied),
    number(score.constant),
    str(score.episodes),
  ]


def note(action_scores: Sequence[ActionScore]) -> str:
  """Returns the explanation of the columns."""
  temperatures = " and ".join(f"{t:g}" for t in sorted({s.temperature for s in action_scores}))
  # All numbers of an action have the same steps, so only the first one counts.
  steps = sum(score.steps for score in action_scores if score.number == 0)
  return (
    f"Actions at temperature {temperatures} on {steps} steps of recorded episodes held out of"
    " training, given what was recorded before. Error: mean absolute error of each number of the"
    " action, in its units, or the share of wrong choices if the action is discrete. Beside it,"
    " the error of repeating the last recorded action, and of always taking the training"
    " episodes' mean action or most frequent choice. Green: the whole interval is below both"
  )


def show(action_scores: Sequence[ActionScore], console: rich.console.Console | None = None) -> None:
  """Prints a row for each number of each task's action."""
  shown = terminal.table(left=HEADINGS[:1], right=HEADINGS[1:])
  for score in action_scores:
    terminal.add_row(shown, cells(score), style="green" if score.beats else "")

  console = terminal.fitting(console, shown)
  console.print(shown)
  console.print(note(action_scores), highlight=False, markup=False)
