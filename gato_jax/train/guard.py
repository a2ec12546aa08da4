"""The rule for losses that should not be: what a bad step is, and what the run then does.

A step is bad if its loss is not finite, or if a domain's loss lies more than `spike_nats` above what is usual for that
domain: the median over the last 100 steps that had it, once there are 20. The loss of a whole batch says little: it
jumps with what happens to be in the batch. A run with a checkpoint goes back to the newest one and leaves out all
batches up to and including the bad one, as PaLM did by hand (Chowdhery et al. 2022, section 5.1); the schedule goes on
from the checkpoint's step. Without a checkpoint, or after as many bad steps as are allowed, it stops.
"""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax.errors import GatoError

_WINDOW, _ENOUGH = 100, 20
# Targets with the usual loss that are counted to a domain's own. Three targets of one step say little, whatever their
# loss; of hundreds, these make no difference.
_PRIOR_TARGETS = 16


class BadLoss(GatoError):
  """step: whose loss is bad. what: the loss and the domains, without advice."""

  def __init__(self, step: int, what: str):
    super().__init__(
      f"{what}; start again from the last checkpoint with a lower optimizer.peak_learning_rate or check the data"
    )
    self.step, self.what = step, what


class Guard:
  """Checks every step's losses once.

  Args:
    spike_nats: 0: only losses that are not finite are bad.
    names: of the components, "domain.task".
    step: checked so far.
    history: as the property gives it, of the steps up to `step`. A list, as older checkpoints have it, holds losses of
      whole batches: nothing is known of a domain then, unless it is the only one.
  """

  def __init__(
    self, spike_nats: float, names: Sequence[str], step: int, history: Mapping[str, Any] | Sequence[float] = ()
  ):
    self._spike_nats, self._checked = spike_nats, step
    self._domains = [name.split(".", 1)[0] for name in names]
    if not isinstance(history, Mapping):
      only = set(self._domains)
      history = {only.pop(): history} if len(only) == 1 else {}
    self._losses = {
      name: collections.deque(history.get(name, ()), maxlen=_WINDOW) for name in sorted(set(self._domains))
    }

  @property
  def history(self) -> dict[str, list[float]]:
    """Domain -> its losses of the last steps that had it; JSON-able."""
    return {name: list(losses) for name, losses in self._losses.items()}

  def check(self, done: int, interval: Sequence[Mapping[str, Any]]) -> None:
    """Reads the metrics of the last steps, up to `done`.

    Args:
      interval: a mapping a step, with "loss", and "component_sums" and "component_counts" [components].

    Raises:
      BadLoss: names the domains in the batch, or the one whose loss is bad.
    """
    for step, values in enumerate(jax.device_get(interval), start=done - len(interval) + 1):
      if step <= self._checked:
        continue
      found = self._by_domain(values)
      if not np.isfinite(values["loss"]):
        raise BadLoss(step, f"loss is {values['loss']:.4g} at step {step}, domains in the batch: {', '.join(found)}")
      for name, (loss, targets) in found.items():
        self._refuse_spike(step, name, loss, targets)
      for name, (loss, _) in found.items():
        self._losses[name].append(loss)
      self._checked = step

  def _by_domain(self, values: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Returns domain -> (mean loss, targets) of those that a batch has."""
    sums, counts = collections.Counter(), collections.Counter()
    for name, total, count in zip(self._domains, values["component_sums"], values["component_counts"], strict=True):
      sums[name] += float(total)
      counts[name] += float(count)
    return {name: (sums[name] / count, count) for name, count in sorted(counts.items()) if count}

  def _refuse_spike(self, step: int, name: str, loss: float, targets: float) -> None:
    usual = self._losses[name]
    if not self._spike_nats or len(usual) < _ENOUGH:
      return
    median = float(np.median(usual))
    excess = (loss - median) * targets / (targets + _PRIOR_TARGETS)
    if excess > self._spike_nats:
      raise BadLoss(step, f"loss of {name} is {loss:.4g} at step {step}, {median:.3f} before, of {targets:.0f} targets")
