"""How many steps a run has: given, or measured once from the minutes it may take."""

import json
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping

import jax
import numpy as np
import tqdm

from gato_jax import distributed
from gato_jax.errors import GatoError
from gato_jax.train import step

_MEASURED_STEPS = 30
_MARGIN = 0.95  # of the minutes: saving, logging and a noisy machine take the rest


def total_steps(
  path: pathlib.Path, steps: int | None, minutes: float | None, measure: Callable[[], float], began: float
) -> int:
  """The run's length, the same on all processes; what the first one measures is final once it is in `path`.

  Args:
    measure: seconds a step. began: time.perf_counter() at which the minutes started.

  Raises:
    GatoError: not exactly one of steps and minutes is given, or the run was planned for other minutes.
  """
  if (steps is None) == (minutes is None):
    raise GatoError(f"train.steps={steps} and train.minutes={minutes}: give exactly one of the two")
  if steps is not None:
    return steps
  total = distributed.from_first(lambda: _read(path, minutes))
  if total is None:
    seconds = measure()
    left = 60 * minutes - (time.perf_counter() - began)
    total = distributed.from_first(lambda: _write(path, minutes, seconds, left))
  return total


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


def _read(path: pathlib.Path, minutes: float) -> int | None:
  if not path.exists():
    return None
  plan = json.loads(path.read_text())
  if plan["minutes"] != minutes:
    raise GatoError(
      f"{path}: the run was planned for {plan['minutes']} minutes, {plan['steps']} steps, now train.minutes={minutes}; "
      "go back, or give train.steps instead"
    )
  return plan["steps"]


def _write(path: pathlib.Path, minutes: float, seconds: float, left: float) -> int:
  plan = {"steps": max(1, int(_MARGIN * left / seconds)), "minutes": minutes, "seconds_per_step": seconds}
  temporary = path.with_suffix(".tmp")
  temporary.write_text(json.dumps(plan))
  os.replace(temporary, path)
  return plan["steps"]
