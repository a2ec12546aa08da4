"""Where the network beats what it imitated, task by task, and whether episodes like these could show that by chance.

A score compares with the best window's mean of the expert's returns; here the network's episodes are compared with the
expert's own: all undisturbed ones, and those of them that the return filter leaves, the only ones that train.

The test is one-sided, of the means (a rank test would answer whether a typical episode is better), and takes the larger
p of Welch's t-test and of permutations of Welch's t. Drawn with equal means, 150 times each, at a level of 5 %: where
both fail in one of ten episodes, 20 against 30, Welch alone errs in 13 % and permutations in 1 %; where a few wide
episodes meet many narrow ones (exponential, 20 against 300), permutations alone in 7 % and Welch in 1 %. Where only the
network fails in one of ten, both err, 13 % with 20 episodes and 7 % with 50: play 50 or more.
"""

import dataclasses
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from arch import bootstrap
from scipy import stats
from statsmodels.stats import multitest

from gato_jax import results
from gato_jax.mixture import MixtureConfig
from gato_jax.report import scores as scoring

LEVEL = 0.05  # of all tasks together
PERMUTATIONS = 9999
_BATCH = 500  # permutations at a time: thousands of episodes each


@dataclasses.dataclass(frozen=True)
class Against:
  """A task's episodes of the network against episodes of its expert.

  Attributes:
    episodes, mean: of the expert's episodes.
    effect: difference of the means in points of score, 100 being the expert's mean above the random actor's.
    low, high: its 95 % bootstrap interval, both actors' episodes resampled; NaN where neither has spread.
    superiority: share of pairs of episodes in which the network's return is higher, ties as half.
    p: one-sided; 1 where the network's mean is not above. p_holm: corrected for all tasks (Holm 1979).
  """

  episodes: int
  mean: float
  effect: float
  low: float
  high: float
  superiority: float
  p: float
  p_holm: float = math.nan

  @property
  def is_above(self) -> bool:
    return self.p_holm < LEVEL


@dataclasses.dataclass(frozen=True)
class Comparison:
  """One task. score: as in the table of scores. everything, kept: against all undisturbed episodes, and the kept."""

  task: str
  episodes: int
  mean: float
  score: float
  everything: Against
  kept: Against


def compare(
  rows: Iterable[results.Row],
  scores: Sequence[scoring.TaskScore],
  actor: str = "gato",
  step: int | None = None,
  keep: float = MixtureConfig.keep,
) -> list[Comparison]:
  """Every scored task with episodes of its expert in the rows; [] where there is none.

  Args:
    scores: of the same rows and step. keep: of the run's data.keep.
  """
  rows = scoring.unique(rows)
  step = scoring.newest_step(rows, actor) if step is None and scores else step
  found: dict[str, tuple] = {}
  for score in scores:
    of_task = [row for row in rows if row.task == score.task]
    agent = np.array([row.episode_return for row in of_task if (row.actor, row.step) == (actor, step)])
    expert = sorted((row for row in of_task if row.actor == scoring.EXPERT), key=lambda row: row.seed)
    if expert:
      returns = np.array([row.episode_return for row in expert])
      left = returns[results.reaches(returns, results.expert_return(returns), keep)]
      found[score.task] = (agent, score, *(_against(score, agent, one) for one in (returns, left)))
  if not found:
    return []
  everything, kept = (_corrected([values[place] for values in found.values()]) for place in (2, 3))
  return [
    Comparison(task, len(agent), float(agent.mean()), score.score, one, other)
    for (task, (agent, score, _, _)), one, other in zip(found.items(), everything, kept, strict=True)
  ]


def _against(score: scoring.TaskScore, agent: np.ndarray, expert: np.ndarray) -> Against:
  unit = abs(expert.mean() - score.random_mean) / 100
  draws = np.random.default_rng(list(score.task.encode()))
  low, high = math.nan, math.nan
  if np.ptp(agent) or np.ptp(expert):
    samples = bootstrap.IndependentSamplesBootstrap(agent, expert, seed=draws)
    means = samples.apply(lambda a, e: np.array([a.mean() - e.mean()]), scoring.RESAMPLES)[:, 0]
    low, high = scoring.percentiles(means / unit)
  return Against(
    episodes=len(expert),
    mean=float(expert.mean()),
    effect=float((agent.mean() - expert.mean()) / unit),
    low=float(low),
    high=float(high),
    superiority=float(stats.mannwhitneyu(agent, expert).statistic / (len(agent) * len(expert))),
    p=_p_value(agent, expert, draws),
  )


def _p_value(agent: np.ndarray, expert: np.ndarray, draws: np.random.Generator) -> float:
  """Of "the network's mean is not above the expert's"."""
  if agent.mean() <= expert.mean():
    return 1.0
  method = stats.PermutationMethod(n_resamples=PERMUTATIONS, batch=_BATCH, rng=draws)
  with warnings.catch_warnings():
    warnings.simplefilter("ignore", RuntimeWarning)  # of sides without spread: t is infinite, and compared as such
    both = [
      stats.ttest_ind(agent, expert, equal_var=False, alternative="greater", method=how).pvalue
      for how in (None, method)
    ]
  return float(max(both))


def _corrected(found: Sequence[Against]) -> list[Against]:
  holm = multitest.multipletests([one.p for one in found], LEVEL, method="holm")[1]
  return [dataclasses.replace(one, p_holm=float(p)) for one, p in zip(found, holm, strict=True)]


def summary(found: Sequence[Comparison]) -> str:
  """On how many tasks it is above, in one line."""
  everything, kept = (sum(getattr(one, name).is_above for one in found) for name in ("everything", "kept"))
  higher = sum(one.everything.effect > 0 for one in found)
  alike = sum(one.everything.low <= 0 <= one.everything.high for one in found)
  return (
    f"above its expert on {everything} of {len(found)} tasks (mean higher on {higher}; one-sided, Holm-corrected, "
    f"{100 * LEVEL:g} % for all tasks together), above the episodes that trained it on {kept}; on {alike} the interval "
    f"of the difference holds 0, and {sum(one.score > 100 for one in found)} have a score above 100"
  )


def table(found: Sequence[Comparison]) -> list[dict[str, Any]]:
  """Rows for a CSV and a page, the largest effect first."""
  lines = []
  for one in sorted(found, key=lambda one: -one.everything.effect):
    line: dict[str, Any] = {"task": one.task, "score": one.score, "mean": one.mean, "episodes": one.episodes}
    for name, against in (("expert", one.everything), ("kept", one.kept)):
      line |= {
        f"{name}_mean": against.mean,
        f"{name}_episodes": against.episodes,
        f"{name}_effect": against.effect,
        f"{name}_low": against.low,
        f"{name}_high": against.high,
        f"{name}_superiority": against.superiority,
        f"{name}_p": against.p,
        f"{name}_p_holm": against.p_holm,
      }
    lines.append(line | {"above": "both" if one.everything.is_above and one.kept.is_above else
                         "expert" if one.everything.is_above else "no"})  # fmt: skip
  return lines
