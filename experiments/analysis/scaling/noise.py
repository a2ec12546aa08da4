"""How much the losses of runs scatter that differ in their seed alone."""

from collections.abc import Iterable, Sequence

import numpy as np


def between_seeds(groups: Iterable[Sequence[float]]) -> float | None:
  """Returns the standard deviation of log L between seeds, None without repeated runs.

  Args:
    groups: The losses of each run, one per seed. They are pooled, each around its group's mean.
  """
  repeated = [np.log(losses) for losses in groups if len(losses) > 1]
  freedom = sum(len(logs) - 1 for logs in repeated)
  if not freedom:
    return None
  return float(np.sqrt(sum(((logs - logs.mean()) ** 2).sum() for logs in repeated) / freedom))
