"""The rule for losses that should not be: what a bad step is, and what the run then does.

A step is bad if its loss is not finite, or lies more than `spike_nats` above the median of the last 100 steps' losses
(once there are 20). A run with a checkpoint goes back to the newest one and leaves out all batches up to and including
the bad one, as PaLM did by hand (Chowdhery et al. 2022, section 5.1); the schedule goes on from the checkpoint's step.
Without a checkpoint, or after as many bad steps as are allowed, it stops.
"""

import collections
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax.errors import GatoError

_WINDOW, _ENOUGH = 100, 20


class BadLoss(GatoError):
  """step: whose loss is bad. what: the loss and the domains, without advice."""

  def __init__(self, step: int, what: str):
    super().__init__(
      f"{what}; start again from the last checkpoint with a lower optimizer.peak_learning_rate or check the data"
    )
    self.step, self.what = step, what


class Guard:
  """Checks every step's loss once.

  Args:
    spike_nats: 0: only losses that are not finite are bad.
    names: of the components, "domain.task".
    step: checked so far. history: losses of the steps up to it, as `history` gives them.
  """

  def __init__(self, spike_nats: float, names: Sequence[str], step: int, history: Iterable[float] = ()):
    self._spike_nats, self._names, self._checked = spike_nats, names, step
    self._losses = collections.deque(history, maxlen=_WINDOW)

  @property
  def history(self) -> list[float]:
    return list(self._losses)

  def check(self, done: int, interval: Sequence[Mapping[str, Any]]) -> None:
    """Reads the metrics of the last steps, up to `done`; raises BadLoss, which names the domains in the batch."""
    for step, values in enumerate(jax.device_get(interval), start=done - len(interval) + 1):
      if step <= self._checked:
        continue
      loss, median = float(values["loss"]), float(np.median(self._losses)) if self._losses else np.inf
      spike = self._spike_nats and len(self._losses) >= _ENOUGH and loss > median + self._spike_nats
      if spike or not np.isfinite(loss):
        present = sorted({self._names[c].split(".", 1)[0] for c in np.flatnonzero(values["component_counts"])})
        usual = f", {median:.3f} before" if spike else ""
        raise BadLoss(
          step,
          f"loss is {loss:.4g} at step {step}{usual}, domains in the batch: {', '.join(present)}",
        )
      self._losses.append(loss)
      self._checked = step
