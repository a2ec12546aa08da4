"""Number of steps of a run: given, or as many as its minutes allow.

A run by minutes times some steps once and plans their number. Where the machine turns out slower
the number is lowered, at steps that are logged, so that the time is kept and the learning rate
still decays to its end. The plan file has each number and the step from which it holds, so that a
run that returns to a checkpoint repeats the same schedule.
"""

import json
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from gato_jax import progress
from gato_jax.errors import GatoError
from gato_jax.storage import files
from gato_jax.train import multihost, step

_log = logging.getLogger(__name__)
_MEASURED_STEPS = 30
# Steps before those: the first ones compile, and the input is slow until its buffers are full.
_WARMUP_STEPS = 2
_MARGIN = 0.95  # of the minutes: saving, logging and a noisy machine take the rest


class Plan:
  """The length of a run, the same on all processes."""

  def __init__(self, steps: int):
    """A run of `steps` steps; `of` also plans runs by minutes."""
    # (steps done, total steps from there on), ascending.
    self._totals = [(0, steps)]
    self._path: pathlib.Path | None = None
    self._minutes = 0.0
    self._planned_seconds = 0.0  # per step
    # Steps that this start has timed, and the seconds that they took.
    self._timed_steps = 0
    self._timed_seconds = 0.0

  @classmethod
  def of(
    cls,
    path: pathlib.Path,
    steps: int | None,
    minutes: float | None,
    measure: Callable[[], float],
    began: float,
  ) -> "Plan":
    """Reads the plan of a run by minutes, or makes it; a plan for other minutes is scaled to them.

    Args:
      path: File of the plan.
      steps: Length of the run.
      minutes: Length of the run, instead of `steps`.
      measure: Returns the seconds per step; called where there is no plan yet.
      began: time.perf_counter() at which the minutes started.

    Raises:
      GatoError: Not exactly one of steps and minutes is given.
    """
    if (steps is None) == (minutes is None):
      raise GatoError(
        f"train.steps={steps} and train.minutes={minutes}: give exactly one of the two"
      )
    if steps is not None:
      return cls(steps)
    assert minutes is not None

    content = multihost.from_first(lambda: _read(path, minutes))
    if content is None:
      seconds = measure()
      seconds_left = 60 * minutes - (time.perf_counter() - began)
      planned_steps = max(1, int(_MARGIN * seconds_left / seconds))
      content = multihost.from_first(
        lambda: _write(path, minutes, seconds=seconds, totals=[(0, planned_steps)])
      )

    plan = cls(content["steps"])
    plan._path = path
    plan._minutes = minutes
    plan._planned_seconds = content.get("seconds_per_step", 0.0)
    if "totals" in content:
      plan._totals = [tuple(pair) for pair in content["totals"]]
    return plan

  def total(self, done: int) -> int:
    """Returns the number of steps of the run, as planned when `done` of them were done."""
    return next(total for since, total in reversed(self._totals) if since <= done)

  def seconds_of(self, steps: int) -> float:
    """Returns the planned time of so many steps; 0 for a run without minutes."""
    return steps * self._planned_seconds

  def timed(self, steps: int, seconds: float) -> None:
    """Records how long some steps took."""
    self._timed_steps += steps
    self._timed_seconds += seconds

  def keep_time(self, done: int, spent: float) -> None:
    """Lowers the number of steps where the minutes do not suffice; all processes call it.

    The number is never lower than `done`.

    Args:
      done: Number of steps done.
      spent: Seconds that the run has taken so far, including earlier starts.
    """
    # Up to the last entry of the totals, an earlier start has decided already.
    if self._path is None or done <= self._totals[-1][0]:
      return

    total = multihost.from_first(lambda: self._affordable_total(done, spent))
    if total < self.total(done):
      _log.warning(
        "train.minutes=%g allow %d steps instead of %d at this pace: the learning rate falls over "
        "these now",
        self._minutes,
        total,
        self.total(done),
      )
      self._totals.append((done, total))

  def _affordable_total(self, done: int, spent: float) -> int:
    """Returns the number of steps that the minutes allow, and writes it where it is lower."""
    assert self._path is not None
    total = self.total(done)
    seconds_left = 60 * self._minutes - spent

    # The steps that were timed for the plan count as well: one slow interval says little.
    planned_from = _MEASURED_STEPS if self._planned_seconds else 0
    known_seconds = planned_from * self._planned_seconds + self._timed_seconds
    pace = known_seconds / max(1, planned_from + self._timed_steps)
    if (total - done) * pace <= seconds_left:
      return total

    affordable = max(done, done + int(_MARGIN * seconds_left / pace))
    if affordable < total:
      _write(
        self._path,
        self._minutes,
        seconds=self._planned_seconds,
        totals=[*self._totals, (done, affordable)],
      )
    return min(affordable, total)


def seconds_per_step(trainer: step.Trainer, batches: Iterator[Mapping[str, np.ndarray]]) -> float:
  """Returns the median time of training steps on a fresh state, which is thrown away."""
  scratch = trainer.init()
  # Any length will do: it only changes the learning rate.
  total = 10 * _MEASURED_STEPS
  seconds = []

  bar = progress.Bar(
    range(_WARMUP_STEPS + _MEASURED_STEPS),
    desc="compile, time steps",
    unit="step",
    disable=not multihost.is_first(),
  )
  for _ in bar:
    start = time.perf_counter()
    scratch, measured = trainer(scratch, trainer.put(next(batches)), total_steps=total)
    jax.block_until_ready((scratch, measured))
    seconds.append(time.perf_counter() - start)

  return float(np.median(seconds[_WARMUP_STEPS:]))


def _read(path: pathlib.Path, minutes: float) -> dict[str, Any] | None:
  """Returns the content of the file, scaled to `minutes`; None where there is no file."""
  if not path.exists():
    return None

  content = json.loads(path.read_text())
  if content["minutes"] == minutes:
    return content

  steps = max(1, int(content["steps"] * minutes / content["minutes"]))
  seconds = content.get("seconds_per_step", 0.0)
  return _write(path, minutes, seconds=seconds, totals=[(0, steps)])


def _write(
  path: pathlib.Path, minutes: float, seconds: float, totals: list[tuple[int, int]]
) -> dict[str, Any]:
  """Writes a plan.

  Args:
    path: File of the plan.
    minutes: Length of the run.
    seconds: Per step.
    totals: (steps done, total steps from there on), ascending.

  Returns:
    The content of the file.
  """
  content = {
    "steps": totals[-1][1],
    "minutes": minutes,
    "seconds_per_step": seconds,
    "totals": totals,
  }
  files.write_json(path, content)
  return content
