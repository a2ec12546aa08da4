"""Tests, task by task, if the network is better than the expert that it imitated.

A score compares with the best window's mean of the expert's returns. Here the network's episodes
are compared with the expert's own: with all undisturbed ones, and with those of them that the
return filter keeps, the only ones that are trained on.

The test is a one-sided test of the means. (A rank test would answer if a typical episode is
better.) It takes the larger p of Welch's t-test and of permutations of Welch's t, because each
errs too often in some cases. In 150 simulations each of equal means, at a level of 5 %:
  * If both actors fail in one of ten episodes, 20 against 30, Welch alone errs in 13 %,
    permutations in 1 %.
  * If a few episodes of wide spread meet many of narrow spread (exponential, 20 against 300),
    permutations alone err in 7 %, Welch in 1 %.
  * If only the network fails in one of ten, both err: in 13 % with 20 episodes, in 7 % with 50.
    So play 50 or more.
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

from gato_jax.data.mixture import MixtureConfig
from gato_jax.env import results
from gato_jax.evaluate import scores as scoring

LEVEL = 0.05  # of all tasks together
PERMUTATIONS = 9999
_BATCH = 500  # permutations at a time, to bound the memory: episodes are thousands


@dataclasses.dataclass(frozen=True)
class Against:
  """A task's episodes of the network against episodes of its expert.

  Attributes:
    episodes: Number of the expert's episodes.
    mean: Their mean return.
    effect: Difference of the means in points of score: 100 is the distance between the expert's
      mean and the random actor's.
    low: Lower end of the effect's 95 % bootstrap interval, over the episodes of both actors. NaN
      if neither has spread.
    high: Upper end of that interval.
    superiority: Share of pairs of episodes in which the network's return is higher; ties count
      half.
    p: One-sided p value, 1 if the network's mean is not above.
    p_holm: The same, corrected for all tasks (Holm 1979).
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
    """True if the network is above the expert, significantly."""
    return self.p_holm < LEVEL


@dataclasses.dataclass(frozen=True)
class Comparison:
  """The comparison of one task.

  Attributes:
    task: "domain.task".
    episodes: Number of the network's episodes.
    mean: Their mean return.
    score: As in the table of scores.
    everything: Against all undisturbed episodes of the expert.
    kept: Against those that the return filter keeps.
  """

  task: str
  episodes: int
  mean: float
  score: float
  everything: Against
  kept: Against


def compare(
  rows: Iterable[results.Row],
  scores: Sequence[scoring.TaskScore],
  actor: str = results.POLICY,
  step: int | None = None,
  keep: float = MixtureConfig.keep,
) -> list[Comparison]:
  """Compares every scored task that has episodes of its expert; [] if there is none.

  Args:
    rows: Episodes of all actors.
    scores: Of the same rows and step.
    actor: The network's name.
    step: Training step of the network; by default its newest.
    keep: The run's data.keep.
  """
  rows = scoring.unique(rows)
  if step is None and scores:
    step = scoring.newest_step(rows, actor)

  compared = []
  everything, kept = [], []
  for score in scores:
    of_task = [row for row in rows if row.task == score.task]
    expert_rows = [row for row in of_task if row.actor == results.EXPERT]
    if not expert_rows:
      continue

    agent = np.array(
      [row.episode_return for row in of_task if (row.actor, row.step) == (actor, step)]
    )
    # The expert return depends on the order of collection, which is that of the seeds.
    expert_rows.sort(key=lambda row: row.seed)
    returns = [row.episode_return for row in expert_rows]
    expert = np.array(returns)
    expert_kept = expert[results.reaches(expert, results.expert_return(returns), keep)]

    compared.append((score, agent))
    everything.append(_against(score, agent, expert))
    kept.append(_against(score, agent, expert_kept))

  if not compared:
    return []

  return [
    Comparison(
      task=score.task,
      episodes=len(agent),
      mean=float(agent.mean()),
      score=score.score,
      everything=against_everything,
      kept=against_kept,
    )
    for (score, agent), against_everything, against_kept in zip(
      compared, _correct(everything), _correct(kept), strict=True
    )
  ]


def _against(score: scoring.TaskScore, agent: np.ndarray, expert: np.ndarray) -> Against:
  """Compares two sets of returns, without the correction for other tasks."""
  # One point of score. The distance is taken as it is, not resampled.
  unit = abs(expert.mean() - score.random_mean) / 100
  # The task seeds its own draws, so that its interval does not depend on other tasks.
  random = np.random.default_rng(list(score.task.encode()))

  low, high = math.nan, math.nan
  if np.ptp(agent) or np.ptp(expert):
    samples = bootstrap.IndependentSamplesBootstrap(agent, expert, seed=random)
    differences = samples.apply(
      lambda agent_, expert_: np.array([agent_.mean() - expert_.mean()]), scoring.RESAMPLES
    )
    low, high = scoring.percentiles(differences[:, 0] / unit)

  # The U statistic counts the pairs in which the network's return is higher.
  pairs = len(agent) * len(expert)
  return Against(
    episodes=len(expert),
    mean=float(expert.mean()),
    effect=float((agent.mean() - expert.mean()) / unit),
    low=float(low),
    high=float(high),
    superiority=float(stats.mannwhitneyu(agent, expert).statistic / pairs),
    p=_p_value(agent, expert, random),
  )


def _p_value(agent: np.ndarray, expert: np.ndarray, random: np.random.Generator) -> float:
  """Returns the p value of "the network's mean is not above the expert's"."""
  if agent.mean() <= expert.mean():
    return 1.0

  permutations = stats.PermutationMethod(n_resamples=PERMUTATIONS, batch=_BATCH, rng=random)
  p_values = []
  with warnings.catch_warnings():
    # Without spread t is infinite, and compares correctly.
    warnings.simplefilter("ignore", RuntimeWarning)
    for method in (None, permutations):
      test = stats.ttest_ind(agent, expert, equal_var=False, alternative="greater", method=method)
      p_values.append(test.pvalue)

  return float(max(p_values))


def _correct(uncorrected: Sequence[Against]) -> list[Against]:
  """Returns the comparisons of all tasks with p values corrected by Holm's method."""
  p_values = [against.p for against in uncorrected]
  corrected = multitest.multipletests(p_values, LEVEL, method="holm")[1]
  return [
    dataclasses.replace(against, p_holm=float(p))
    for against, p in zip(uncorrected, corrected, strict=True)
  ]


def summary(comparisons: Sequence[Comparison]) -> str:
  """Returns the numbers of tasks that are above, as a sentence without subject and full stop."""
  above_everything = sum(comparison.everything.is_above for comparison in comparisons)
  above_kept = sum(comparison.kept.is_above for comparison in comparisons)
  higher = sum(comparison.everything.effect > 0 for comparison in comparisons)
  undecided = sum(
    comparison.everything.low <= 0 <= comparison.everything.high for comparison in comparisons
  )
  high_scores = sum(comparison.score > 100 for comparison in comparisons)

  return (
    f"above its expert on {above_everything} of {len(comparisons)} tasks (mean higher on {higher};"
    f" one-sided, Holm-corrected, {100 * LEVEL:g} % for all tasks together), and above the"
    f" episodes that it was trained on on {above_kept}; on {undecided} tasks the interval of the"
    f" difference contains 0, and {high_scores} have a score above 100"
  )


def table(comparisons: Sequence[Comparison]) -> list[dict[str, Any]]:
  """Returns rows for a CSV and a page, the largest effect first."""
  lines = []
  for comparison in sorted(comparisons, key=lambda c: -c.everything.effect):
    line: dict[str, Any] = {
      "task": comparison.task,
      "score": comparison.score,
      "mean": comparison.mean,
      "episodes": comparison.episodes,
    }
    for name, against in (("expert", comparison.everything), ("kept", comparison.kept)):
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

    # Above the kept episodes alone does not count: they are among the expert's.
    line["above"] = "no"
    if comparison.everything.is_above:
      line["above"] = "both" if comparison.kept.is_above else "expert"
    lines.append(line)

  return lines
