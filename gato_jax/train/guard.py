"""Detects bad losses; gato_jax/train/loop.py decides what the run does then.

A step is bad if its loss is not finite, or if the loss of a domain lies more than `spike_nats`
above what is usual for that domain: the median over the last 100 steps that had it, once there are
20. The loss of a whole batch says little, because it depends on which domains happen to be in the
batch.

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

_WINDOW = 100  # losses of a domain whose median is usual
_MIN_LOSSES = 20  # fewer have no reliable median
# Targets with the usual loss that are added to the targets of a domain in one step. A loss over
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
      history: The property of that name, up to `step`. Older checkpoints have a list of losses of
        whole batches instead, which says nothing about a domain unless it is the only one.
    """
    self._spike_nats = spike_nats
    self._checked_step = step
    self._domains = [name.split(".", 1)[0] for name in names]

    domains = sorted(set(self._domains))
    if not isinstance(history, Mapping):
      history = {domains[0]: history} if len(domains) == 1 else {}
    self._losses = {
      domain: collections.deque(history.get(domain, ()), maxlen=_WINDOW) for domain in domains
    }

  @property
  def history(self) -> dict[str, list[float]]:
    """Domain -> its losses of the last steps that had it; JSON-able."""
    return {domain: list(losses) for domain, losses in self._losses.items()}

  def check(self, done: int, interval: Sequence[Mapping[str, Any]]) -> None:
    """Checks the metrics of the last steps, up to step `done`.

    Steps that were checked before are skipped: a checkpoint between two rows of the log checks the
    first steps of an interval early.

    Args:
      done: Step of the last element of `interval`.
      interval: A mapping per step with "loss", "component_sums" and "component_counts"
        [components].

    Raises:
      BadLoss: Names the domains in the batch, or the domain whose loss is bad.
    """
    first = done - len(interval) + 1
    for step, measured in enumerate(jax.device_get(interval), start=first):
      if step <= self._checked_step:
        continue

      losses = self._losses_by_domain(measured)
      if not np.isfinite(measured["loss"]):
        raise BadLoss(
          step,
          f"loss is {measured['loss']:.4g} at step {step}, domains in the batch: "
          f"{', '.join(losses)}",
        )
      for domain, (loss, targets) in losses.items():
        self._check_spike(step, domain, loss=loss, targets=targets)

      # Only steps without a bad loss become part of the history.
      for domain, (loss, _) in losses.items():
        self._losses[domain].append(loss)
      self._checked_step = step

  def _losses_by_domain(self, measured: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
    """Returns domain -> (mean loss, number of targets) of the domains in a batch."""
    sums: dict[str, float] = collections.defaultdict(float)
    counts: dict[str, float] = collections.defaultdict(float)
    components = zip(
      self._domains, measured["component_sums"], measured["component_counts"], strict=True
    )
    for domain, component_sum, component_count in components:
      sums[domain] += float(component_sum)
      counts[domain] += float(component_count)

    # A domain without targets in this batch has no loss.
    return {
      domain: (sums[domain] / count, count) for domain, count in sorted(counts.items()) if count
    }

  def _check_spike(self, step: int, domain: str, loss: float, targets: float) -> None:
    """Raises BadLoss if the loss of a domain is far above its usual one."""
    usual_losses = self._losses[domain]
    if not self._spike_nats or len(usual_losses) < _MIN_LOSSES:
      return

    median = float(np.median(usual_losses))
    # The prior targets have the median as their loss, which shrinks the excess of a small sample.
    excess = (loss - median) * targets / (targets + _PRIOR_TARGETS)
    if excess > self._spike_nats:
      raise BadLoss(
        step,
        f"loss of {domain} is {loss:.4g} at step {step}, {median:.3f} before, "
        f"of {targets:.0f} targets",
      )
