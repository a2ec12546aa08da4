"""Normalised scores, 100 (agent - random) / (expert - random), with bootstrap intervals (GATO_SPEC section 5)."""

import dataclasses
import math
from collections.abc import Iterable, Sequence

import numpy as np
from scipy import stats

from gato_jax import results
from gato_jax.errors import GatoError

CONFIDENCE = 0.95
RESAMPLES = 9999
EXPERT, RANDOM = "expert", "random"
COMMANDS = {EXPERT: "python -m experiments.collect", RANDOM: "python -m experiments.evaluate"}  # who plays a baseline


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
    expert_return: as in `results.expert_return`.
    episodes: the agent's.
    success, expert_success: shares of successful episodes, None where the task defines no success.
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


def task_scores(rows: Iterable[results.Row], actor: str = "gato", step: int | None = None) -> list[TaskScore]:
  """Scores of every task that `actor` played at `step`, by default the newest step in the rows, sorted by name.

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
      random = [r for r in of_task if r.actor == RANDOM]
      expert = sorted((r for r in of_task if r.actor == EXPERT), key=lambda r: r.seed)  # collection order
      scores.append(_score(task, agent, random, expert))
  if not scores:
    raise GatoError(f"no rows of actor {actor!r} at step {step}: there is nothing to score; run experiments.evaluate")
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


def _score(
  task: str, agent: Sequence[results.Row], random: Sequence[results.Row], expert: Sequence[results.Row]
) -> TaskScore:
  for baseline, baseline_rows in ((RANDOM, random), (EXPERT, expert)):
    if not baseline_rows:
      raise GatoError(
        f"{task}: no rows of the {baseline!r} baseline, so there is no normalised score; "
        f"run {COMMANDS[baseline]} with this task in the config"
      )
  expert_return = results.expert_return([r.episode_return for r in expert])
  agent_returns, random_returns = ([r.episode_return for r in rows] for rows in (agent, random))
  random_mean = float(np.mean(random_returns))
  if expert_return <= random_mean:
    raise GatoError(
      f"{task}: the expert's return {expert_return:g} is not above the random actor's {random_mean:g}, so a score has "
      f"no meaning; collect with a better expert or leave the task out"
    )

  def statistic(agent_sample, random_sample, axis=-1):
    zero = np.mean(random_sample, axis=axis)
    return 100 * (np.mean(agent_sample, axis=axis) - zero) / (expert_return - zero)

  low, high = _interval(agent_returns, random_returns, statistic)
  return TaskScore(
    task=task,
    score=float(statistic(agent_returns, random_returns)),
    low=low,
    high=high,
    agent_mean=float(np.mean(agent_returns)),
    random_mean=random_mean,
    expert_return=expert_return,
    episodes=len(agent),
    success=_success(agent),
    expert_success=_success(expert),
  )


def _interval(agent: Sequence[float], random: Sequence[float], statistic) -> tuple[float, float]:
  """Percentile bootstrap, agent and random episodes resampled independently; NaN for constant agent returns."""
  if len(set(agent)) < 2:
    return math.nan, math.nan
  # scipy wants two observations a sample; a single random episode, doubled, resamples to itself.
  random = random if len(random) > 1 else [*random, *random]
  interval = stats.bootstrap(
    (agent, random),
    statistic,
    confidence_level=CONFIDENCE,
    n_resamples=RESAMPLES,
    method="percentile",
    rng=np.random.default_rng(0),
  ).confidence_interval
  return float(interval.low), float(interval.high)


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
