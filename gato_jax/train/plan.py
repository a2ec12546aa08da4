"""How many steps a run has: given, or as many as its minutes allow.

A run by minutes times some steps once and plans their number. Where the machine turns out slower the number is lowered,
at the steps that are logged, so that the time is kept and the learning rate still reaches its end. The plan file has
each number and the step from which it holds: a run that goes back to a checkpoint repeats what it did.
"""

import json
import logging
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import tqdm

from gato_jax import distributed, files
from gato_jax.errors import GatoError
from gato_jax.train import step

_log = logging.getLogger(__name__)
_MEASURED_STEPS = 30
_MARGIN = 0.95  # of the minutes: saving, logging and a noisy machine take the rest


class Plan:
  """The run's length, the same on all processes."""

  def __init__(self, steps: int):
    """A run of so many steps; `of` makes the others."""
    self._totals = [(0, steps)]
    self._path: pathlib.Path | None = None
    self._minutes = self._planned_seconds = 0.0
    self._steps, self._seconds = 0, 0.0  # that this start has timed

  @classmethod
  def of(
    cls, path: pathlib.Path, steps: int | None, minutes: float | None, measure: Callable[[], float], began: float
  ) -> "Plan":
    """Reads the plan of a run by minutes, or makes it; one for other minutes is stretched to them.

    Args:
      path: of the plan. measure: seconds a step. began: time.perf_counter() at which the minutes started.

    Raises:
      GatoError: not exactly one of steps and minutes is given.
    """
    if (steps is None) == (minutes is None):
      raise GatoError(f"train.steps={steps} and train.minutes={minutes}: give exactly one of the two")
    if steps is not None:
      return cls(steps)
    content = distributed.from_first(lambda: _read(path, minutes))
    if content is None:
      seconds = measure()
      left = 60 * minutes - (time.perf_counter() - began)
      content = distributed.from_first(lambda: _first(path, minutes, seconds, left))
    plan = cls(content["steps"])
    plan._path, plan._minutes = path, minutes
    plan._planned_seconds = content.get("seconds_per_step", 0.0)
    plan._totals = [tuple(pair) for pair in content.get("totals", plan._totals)]
    return plan

  def total(self, done: int) -> int:
    """Steps of the run, as planned when so many of them were done."""
    return next(total for since, total in reversed(self._totals) if since <= done)

  def seconds_of(self, steps: int) -> float:
    """What so many steps were planned to take; 0 for a run that has no minutes."""
    return steps * self._planned_seconds

  def timed(self, steps: int, seconds: float) -> None:
    """So many steps took so long."""
    self._steps += steps
    self._seconds += seconds

  def keep_time(self, done: int, spent: float) -> None:
    """Lowers the number of steps where the minutes would not do, to no fewer than are done; all processes call it.

    Args:
      spent: seconds that the run has taken so far, earlier starts included.
    """
    if self._path is None or done <= self._totals[-1][0]:  # or it was decided before this start
      return
    total = distributed.from_first(lambda: self._affordable(done, spent))
    if total < self.total(done):
      _log.warning("train.minutes=%g allow %d steps instead of %d at this pace: the learning rate falls over these now",
                   self._minutes, total, self.total(done))  # fmt: skip
      self._totals.append((done, total))

  def _affordable(self, done: int, spent: float) -> int:
    """Returns the number of steps to go on with; writes it down where it is another one."""
    now, left = self.total(done), 60 * self._minutes - spent
    timed = _MEASURED_STEPS if self._planned_seconds else 0  # the timed steps count: one slow interval says little
    pace = (timed * self._planned_seconds + self._seconds) / max(1, timed + self._steps)
    if (now - done) * pace <= left:
      return now
    total = max(done, done + int(_MARGIN * left / pace))
    if total < now:
      _write(self._path, self._minutes, self._planned_seconds, [*self._totals, (done, total)])
    return min(total, now)


def seconds_per_step(trainer: step.Trainer, batches: Iterator[Mapping[str, np.ndarray]]) -> float:
  """Median of timed steps on a fresh state that is thrown away."""
  scratch, total, seconds = trainer.init(), 10 * _MEASURED_STEPS, []
  count = tqdm.trange(
    _MEASURED_STEPS + 2,
    desc="compile, time steps",
    unit="step",
    dynamic_ncols=True,
    disable=not distributed.is_first(),
  )
  for _ in count:
    mark = time.perf_counter()
    scratch, measured = trainer(scratch, trainer.put(next(batches)), total)
    jax.block_until_ready((scratch, measured))
    seconds.append(time.perf_counter() - mark)
  return float(np.median(seconds[2:]))  # the first two compile; the input is slow until its buffers fill


def _read(path: pathlib.Path, minutes: float) -> dict[str, Any] | None:
  """Returns what the file holds, stretched to `minutes`; None where there is no file."""
  if not path.exists():
    return None
  content = json.loads(path.read_text())
  if content["minutes"] == minutes:
    return content
  steps = max(1, int(content["steps"] * minutes / content["minutes"]))
  return _write(path, minutes, content.get("seconds_per_step", 0.0), [(0, steps)])


def _first(path: pathlib.Path, minutes: float, seconds: float, left: float) -> dict[str, Any]:
  return _write(path, minutes, seconds, [(0, max(1, int(_MARGIN * left / seconds)))])


def _write(path: pathlib.Path, minutes: float, seconds: float, totals: list[tuple[int, int]]) -> dict[str, Any]:
  """totals: (steps done, steps of the run from there on)."""
  content = {"steps": totals[-1][1], "minutes": minutes, "seconds_per_step": seconds, "totals": totals}
  files.write_json(path, content)
  return content
