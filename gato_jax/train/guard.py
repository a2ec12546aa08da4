"""Detects bad losses; gato_jax/train/loop.py decides what the run does then.

A step is bad if its loss is not finite, or if the loss of a task lies more than `spike_nats` above
what is usual for that task: the median over the last 100 steps that had it, once there are 20. The
loss of a whole batch says little, because it depends on which tasks happen to be in the batch, and
so does that of a domain whose tasks are not equally hard.

A run with a checkpoint returns to the newest one and skips all batches up to and including the bad
one, as PaLM did by hand (Chowdhery et al. 2022, section 5.1); the learning-rate schedule continues
from the checkpoint's step. Without a checkpoint, or after as many bad steps as are allowed, the run
stops.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax.errors import GatoError

_WINDOW = 100  # losses of a task whose median is usual
_MIN_LOSSES = 20  # fewer have no reliable median
# Targets with the usual loss that are added to the targets of a task in one step. A loss over
# three targets says little, however high it is; among hundreds of targets these make no difference.
_PRIOR_TARGETS = 16


class BadLoss(GatoError):
  """A training step has a bad loss.

  Attributes:
    step: The bad step.
    summary: The loss and the domains, without advice.
  """

  def __init__(self, step: int, summary: str):
    super().__init__(
      f"{summary}; start again from the last checkpoint with a lower "
      "optimizer.peak_learning_rate or check the data"
    )
    self.step = step
    self.summary = summary


class Guard:
  """Checks the losses of every step once."""

  def __init__(
    self,
    spike_nats: float,
    names: Sequence[str],
    step: int,
    history: Mapping[str, Any] | Sequence[float] = (),
  ):
    """Continues after `step`.

    Args:
      spike_nats: Nats above the median that make a loss bad. 0: only losses that are not finite.
      names: Of the components of the mixture, "domain.task".
      step: Last step that was checked.
      history: The property of that name, up to `step`. What older checkpoints have, losses of
        domains or of whole batches, says nothing about a task unless it is the only one.
    """
    self._spike_nats = spike_nats
    self._checked_step = step
    self._names = list(names)

    if not isinstance(history, Mapping):
      history = {names[0]: history} if len(names) == 1 else {}
    self._losses = {
      name: collections.deque(history.get(name, ()), maxlen=_WINDOW) for name in names
    }

  @property
  def history(self) -> dict[str, list[float]]:
    """Task -> its losses of the last steps that had it; JSON-able."""
    return {name: list(losses) for name, losses in self._losses.items()}

  def check(self, done: int, interval: Sequence[Mapping[str, Any]]) -> None:
    """Checks the metrics of the last steps, up to step `done`.

    Steps that were checked before are skipped: a checkpoint between two rows of the log checks the
    first steps of an interval early.

    Args:
      done: Step of the last element of `interval`.
      interval: A mapping per step with "loss", "component_sums" and "component_counts"
        [components].

    Raises:
      BadLoss: Names the domains in the batch, or the task whose loss is bad.
    """
    first = done - len(interval) + 1
    for step, measured in enumerate(jax.device_get(interval), start=first):
      if step <= self._checked_step:
        continue

      losses = self._losses_by_task(measured)
      if not np.isfinite(measured["loss"]):
        domains = sorted({name.split(".", 1)[0] for name in losses})
        raise BadLoss(
          step,
          f"loss is {measured['loss']:.4g} at step {step}, domains in the batch: "
          f"{', '.join(domains)}",
        )
      for name, (loss, targets) in losses.items():
        self._check_spike(step, name, loss=loss, targets=targets)

      # Only steps without a bad loss become part of the history.
      for name, (loss, _) in losses.items():
        self._losses[name].append(loss)
      self._checked_step = step

  def _losses_by_task(self, measured: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Returns task -> (mean loss, number of targets) of the tasks in a batch."""
    components = zip(
      self._names, measured["component_sums"], measured["component_counts"], strict=True
    )

    # A task without targets in this batch has no loss.
    return {
      name: (float(component_sum) / float(count), float(count))
      for name, component_sum, count in components
      if count
    }

  def _check_spike(self, step: int, name: str, loss: float, targets: float) -> None:
    """Raises BadLoss if the loss of a task is far above its usual one."""
    usual_losses = self._losses[name]
    if not self._spike_nats or len(usual_losses) < _MIN_LOSSES:
      return

    median = float(np.median(usual_losses))
    # The prior targets have the median as their loss, which shrinks the excess of a small sample.
    excess = (loss - median) * targets / (targets + _PRIOR_TARGETS)
    if excess > self._spike_nats:
      raise BadLoss(
        step,
        f"loss of {name} is {loss:.4g} at step {step}, {median:.3f} before, "
        f"of {targets:.0f} targets",
      )
