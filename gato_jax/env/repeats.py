"""Counts how often an actor repeats its actions, the mark of a clone that copies.

A network that sees its past actions can lower its loss by copying the last one, and then stands
still when it acts (de Haan et al. 2019; docs/history.md). Experts repeat actions, too, so the rates
of an agent and of its expert are read side by side.
"""

import numpy as np
from dm_env import specs

_BINS = 1024  # over an action's range, as in its tokens

STILL_STEPS = 20  # equal actions in a row that count as standing still


class RepeatCounter:
  """Compares each action of an episode with the one before.

  Attributes:
    longest: Steps of the longest run of equal actions.
  """

  def __init__(self, spec: specs.BoundedArray):
    self._spec = spec
    self._last: np.ndarray | None = None
    self._run = 0
    self._equal = 0
    self._compared = 0
    self.longest = 0

  @property
  def rate(self) -> float | None:
    """Share of action tokens that are those of the step before; None before the second step."""
    return self._equal / self._compared if self._compared else None

  def add(self, action: np.ndarray) -> None:
    tokens = self._tokens(action)

    is_equal = np.zeros(tokens.shape, bool)
    if self._last is not None:
      is_equal = tokens == self._last
      self._equal += int(is_equal.sum())
      self._compared += is_equal.size

    self._run = self._run + 1 if is_equal.all() else 1
    self.longest = max(self.longest, self._run)
    self._last = tokens

  def _tokens(self, action: np.ndarray) -> np.ndarray:
    """Returns numbers that are equal where the action's tokens are, int [A]."""
    if np.issubdtype(self._spec.dtype, np.integer):
      return np.ravel(action)

    low, high = self._spec.minimum, self._spec.maximum
    share = (np.asarray(action, np.float64) - low) / (np.asarray(high, np.float64) - low)
    return np.minimum(np.floor(share * _BINS), _BINS - 1).astype(np.int64).ravel()
