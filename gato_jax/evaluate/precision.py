"""Decides when a task has been played enough: the interval of its score is narrow.

The number of episodes then depends on their returns. That widens no interval, but a mean that is
narrow by chance ends a task early: the report names the episodes of each task.
"""

from collections.abc import Iterable, Mapping

from gato_jax.env import results
from gato_jax.env.results import POLICY
from gato_jax.errors import GatoError
from gato_jax.evaluate import scores
from gato_jax.evaluate.baselines import Baseline

# Fewer say nothing about their own spread.
_LEAST_EPISODES = 5


class Precision:
  """Widths of the scores of one checkpoint, updated with each episode."""

  def __init__(
    self, width: float, step: int, rows: Iterable[results.Row], baselines: Mapping[str, Baseline]
  ):
    """Starts from the rows that exist.

    Args:
      width: Points of normalised score; 0: no interval is narrow enough.
      step: Training step of the checkpoint.
      rows: Rows of the policy and of baselines.
      baselines: "domain.task" -> means, for tasks without rows of a baseline.
    """
    self._width = width
    self._step = step
    self._baselines = baselines
    self._rows: dict[str, list[results.Row]] = {}
    self._known: dict[str, bool] = {}
    for row in rows:
      self.add(row)

  def add(self, row: results.Row) -> None:
    """Takes an episode into account."""
    self._rows.setdefault(row.task, []).append(row)
    self._known.pop(row.task, None)

  def is_enough(self, task: str) -> bool:
    """Returns True if the 95 % interval of a task's score is at most as wide as asked for.

    Equal returns have no interval, however many they are, and a task whose baselines are not known
    yet has no score.
    """
    if not self._width:
      return False
    if task not in self._known:
      self._known[task] = self._is_narrow(task)
    return self._known[task]

  def _is_narrow(self, task: str) -> bool:
    rows = self._rows.get(task, [])
    played = [row for row in rows if (row.actor, row.step) == (POLICY, self._step)]
    if len(played) < _LEAST_EPISODES:
      return False

    try:
      (score,) = scores.task_scores(rows, step=self._step, baselines=self._baselines)
    except GatoError:
      return False  # `scores.task_scores` reports at the end what is missing
    return score.has_interval and score.high - score.low <= self._width
