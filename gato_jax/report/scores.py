"""Normalised scores, 100 (agent - random) / (expert - random), with bootstrap intervals (GATO_SPEC section 5).

Intervals are percentiles of a bootstrap. Seeds are resampled, the tasks stay as they are: an interval over tasks says
how well these seeds' episodes determine the number, nothing about other tasks or other training seeds. Tasks that were
played on the same seeds are resampled together, since their scenes are drawn from the same numbers and their returns
are not independent; tasks on different seeds are resampled apart.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from gato_jax import randomness, results
from gato_jax.baselines import Baseline
from gato_jax.errors import GatoError
from gato_jax.evaluate.config import FIRST_SEED

CONFIDENCE = 0.95
RESAMPLES = 2000
EXPERT, RANDOM = "expert", "random"
COMMANDS = {EXPERT: "python -m experiments.collect", RANDOM: "python -m experiments.evaluate"}  # who plays a baseline
Interval = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class TaskScore:
  """One task's normalised score, in per cent of the expert.

  Attributes:
    task: "domain.task".
    score: 100 (agent - random) / (expert - random).
    low, high: 95 % bootstrap interval over the agent's and the random actor's episodes; the expert return, a maximum of
      window means, is held fixed. NaN where the agent's returns are all equal: resampling them shows no spread,
      which is not the same as certainty.
    agent_mean, random_mean: mean returns.
    expert_return: as in `results.expert_return`, or a mean where nothing else is known.
    episodes: the agent's.
    success, expert_success: shares of successful episodes, None where the task defines no success.
    success_low, success_high: of the agent's success, NaN where it has no spread.
    random_fixed: only the random actor's mean is known, so it is held fixed too.
    resampled: the score of each resample, float64 [RESAMPLES].
  """

  task: str
  score: float
  low: float
  high: float
  agent_mean: float
  random_mean: float
  expert_return: float
  episodes: int
  success: float | None
  expert_success: float | None
  success_low: float = math.nan
  success_high: float = math.nan
  random_fixed: bool = False
  resampled: np.ndarray | None = dataclasses.field(default=None, repr=False, compare=False)

  @property
  def domain(self) -> str:
    return self.task.split(".", 1)[0]

  @property
  def has_interval(self) -> bool:
    return not math.isnan(self.low)


def unique(rows: Iterable[results.Row]) -> list[results.Row]:
  """The first row of each (task, actor, seed, step): a re-run evaluation never counts an episode twice."""
  kept: dict[tuple, results.Row] = {}
  for row in rows:
    kept.setdefault((row.task, row.actor, row.seed, row.step), row)
  return list(kept.values())


def task_scores(
  rows: Iterable[results.Row],
  actor: str = "gato",
  step: int | None = None,
  baselines: Mapping[str, Baseline] | None = None,
) -> list[TaskScore]:
  """Scores of every task that `actor` played at `step`, by default the newest step in the rows, sorted by name.

  Args:
    baselines: "domain.task" -> means, for tasks without rows of a baseline.

  Raises:
    GatoError: the actor has no rows, a baseline is missing, or the expert is no better than the random actor.
  """
  rows = unique(rows)
  step = newest_step(rows, actor) if step is None else step
  by_task: dict[str, list[results.Row]] = {}
  for row in rows:
    by_task.setdefault(row.task, []).append(row)
  scores = []
  for task, of_task in sorted(by_task.items()):
    agent = [r for r in of_task if r.actor == actor and r.step == step]
    if agent:
      scores.append(_score(task, agent, _Ends.of(task, of_task, baselines or {})))
  if not scores:
    raise GatoError(f"no rows of actor {actor!r} at step {step}: there is nothing to score; run experiments.evaluate")
  return scores


def last_scores(rows: Iterable[results.Row], baselines: Mapping[str, Baseline]) -> dict[str, float]:
  """ "domain.task" -> its score at the last step at which it was played; those that can be scored."""
  return {task: by_step[max(by_step)] for task, by_step in scores_by_step(rows, baselines).items()}


def scores_by_step(
  rows: Iterable[results.Row], baselines: Mapping[str, Baseline], actor: str = "gato"
) -> dict[str, dict[int, float]]:
  """ "domain.task" -> step -> score, without intervals; tasks that cannot be scored (yet) are left out."""
  by_task: dict[str, list[results.Row]] = {}
  for row in unique(rows):
    by_task.setdefault(row.task, []).append(row)
  scores: dict[str, dict[int, float]] = {}
  for task, of_task in sorted(by_task.items()):
    played: dict[int, list[float]] = {}
    for row in of_task:
      if row.actor == actor:
        played.setdefault(row.step, []).append(row.episode_return)
    try:
      ends = _Ends.of(task, of_task, baselines)
    except GatoError:  # for `task_scores` to say
      continue
    if played:
      scores[task] = {step: float(ends.score(np.mean(returns))) for step, returns in sorted(played.items())}
  return scores


def newest_step(rows: Iterable[results.Row], actor: str = "gato") -> int:
  """The largest training step that `actor` has rows of."""
  steps = [r.step for r in rows if r.actor == actor]
  if not steps:
    raise GatoError(f"no rows of actor {actor!r}: there is nothing to score; run experiments.evaluate")
  return max(steps)


def unplayed(rows: Iterable[results.Row], scores: Sequence[TaskScore]) -> list[str]:
  """Tasks with a baseline that the scored checkpoint has not played: a report names them."""
  return sorted({r.task for r in rows} - {s.task for s in scores})


@dataclasses.dataclass(frozen=True)
class _Ends:
  """What a score of a task is measured between.

  Attributes:
    random_returns: float64 [n]; the mean alone where only that is known. random_seeds: of the episodes.
  """

  random_returns: np.ndarray
  random_seeds: tuple[int, ...]
  expert_return: float
  expert_success: float | None
  random_fixed: bool

  @classmethod
  def of(cls, task: str, rows: Sequence[results.Row], baselines: Mapping[str, Baseline]) -> "_Ends":
    """From a task's rows, and from its mean where it has none; GatoError without either."""
    known = baselines.get(task)
    random = sorted((r for r in rows if r.actor == RANDOM), key=lambda r: r.seed)
    expert = sorted((r for r in rows if r.actor == EXPERT), key=lambda r: r.seed)  # collection order
    # Episodes that were played to measure the expert are not one sample with those that were collected. Whoever has
    # them asked for them (evaluate.baselines="measure"), so they count alone.
    expert = [r for r in expert if r.seed >= FIRST_SEED] or expert
    for baseline, baseline_rows in ((RANDOM, random), (EXPERT, expert)):
      if not baseline_rows and known is None:
        raise GatoError(
          f"{task}: no rows of the {baseline!r} baseline, so there is no normalised score; run {COMMANDS[baseline]} "
          "with this task in the config, or evaluate with --config.evaluate.baselines=scores"
        )
    made = cls(
      np.array([r.episode_return for r in random] or [known.random]),
      tuple(r.seed for r in random),
      results.expert_return([r.episode_return for r in expert]) if expert else known.expert,
      _success(expert) if expert else known.expert_success,
      not random,
    )
    if made.expert_return <= made.random_mean:
      raise GatoError(
        f"{task}: the expert's return {made.expert_return:g} is not above the random actor's {made.random_mean:g}, so "
        f"a score has no meaning; collect with a better expert or leave the task out"
      )
    return made

  @property
  def random_mean(self) -> float:
    return float(np.mean(self.random_returns))

  def score(self, agent_mean: float, random_mean: float | None = None) -> float:
    zero = self.random_mean if random_mean is None else random_mean
    return 100 * (agent_mean - zero) / (self.expert_return - zero)


def _score(task: str, agent: Sequence[results.Row], ends: _Ends) -> TaskScore:
  agent = sorted(agent, key=lambda row: row.seed)
  returns = np.array([r.episode_return for r in agent])
  success = _success(agent)
  # One column for returns and one for success: an episode is resampled with both.
  columns = np.stack([returns, [float(r.success or 0) for r in agent]], axis=1)
  means, shares = resampled_means(columns, [r.seed for r in agent]).T
  # A baseline of which only the mean is known resamples to itself.
  resampled = ends.score(means, resampled_means(ends.random_returns, ends.random_seeds))

  low, high = percentiles(resampled) if np.ptp(returns) else (math.nan, math.nan)
  success_low, success_high = percentiles(shares) if success not in (None, 0.0, 1.0) else (math.nan, math.nan)
  return TaskScore(
    task=task,
    score=ends.score(float(returns.mean())),
    low=low,
    high=high,
    agent_mean=float(returns.mean()),
    random_mean=ends.random_mean,
    expert_return=ends.expert_return,
    episodes=len(agent),
    success=success,
    expert_success=ends.expert_success,
    success_low=success_low,
    success_high=success_high,
    random_fixed=ends.random_fixed,
    resampled=resampled,
  )


def resampled_means(values: np.ndarray, seeds: Sequence[int], arm: str = "") -> np.ndarray:
  """Returns means of resampled episodes, [RESAMPLES, ...].

  Args:
    values: [n, ...], of the episodes of `seeds`, in the same order. The same seeds are always resampled alike, whatever
      the task.
    arm: other arms are resampled apart, though they play the same seeds: their difference is then no narrower than it
      would be on other seeds.
  """
  draws = randomness.generator(f"bootstrap/{arm}/{list(seeds)}")
  return values[draws.integers(len(values), size=(RESAMPLES, len(values)))].mean(axis=1)


def percentiles(resampled: np.ndarray) -> Interval:
  """The interval of resampled statistics [RESAMPLES, ...]: percentiles along the first axis."""
  tail = 50 * (1 - CONFIDENCE)
  return tuple(np.percentile(resampled, [tail, 100 - tail], axis=0))


def interval(scores: Sequence[TaskScore], statistic: Callable[[np.ndarray], np.ndarray]) -> Interval:
  """Returns the interval of a statistic over tasks.

  Args:
    statistic: scores [tasks, RESAMPLES] -> [RESAMPLES, ...].
  """
  return percentiles(statistic(np.stack([s.resampled for s in scores])))


def _success(rows: Sequence[results.Row]) -> float | None:
  known = [r.success for r in rows if r.success is not None]
  return float(np.mean(known)) if known else None


def bar(scores: Sequence[TaskScore], threshold: float = 50) -> tuple[int, int]:
  """(tasks at or above `threshold` per cent of the expert, all tasks); the paper: 450 of 604 at 50."""
  return sum(s.score >= threshold for s in scores), len(scores)


def by_domain(scores: Sequence[TaskScore]) -> dict[str, list[TaskScore]]:
  """Domain -> its scores, in alphabetic order."""
  domains: dict[str, list[TaskScore]] = {}
  for score in sorted(scores, key=lambda s: s.task):
    domains.setdefault(score.domain, []).append(score)
  return domains


def domain_means(scores: Sequence[TaskScore]) -> dict[str, float]:
  """Domain -> mean over its tasks."""
  return {domain: float(np.mean([s.score for s in of_domain])) for domain, of_domain in by_domain(scores).items()}


def mean_over_domains(scores: Sequence[TaskScore]) -> float:
  """Mean over domains of the mean over tasks: the y of the paper's scaling figure."""
  return float(np.mean(list(domain_means(scores).values())))


def interquartile_mean(scores: Sequence[TaskScore]) -> float:
  """Mean of the tasks' scores without the lowest and the highest quarter."""
  return float(stats.trim_mean([s.score for s in scores], 0.25))


def intervals(scores: Sequence[TaskScore], threshold: float = 50) -> dict[str, Interval]:
  """Of the numbers over all tasks, by the name of the function that computes them."""
  order = [[i for i, s in enumerate(scores) if s.domain == domain] for domain in by_domain(scores)]

  def over_domains(values: np.ndarray) -> np.ndarray:
    return np.mean([values[rows].mean(axis=0) for rows in order], axis=0)

  return {
    "bar": interval(scores, lambda values: np.sum(values >= threshold, axis=0)),
    "mean_over_domains": interval(scores, over_domains),
    "interquartile_mean": interval(scores, lambda values: stats.trim_mean(values, 0.25, axis=0)),
  }
