"""Normalised scores, 100 (agent - random) / (expert - random), with bootstrap intervals.

The score is that of Reed et al. 2022, section 4.1; the intervals are ours.

Intervals are percentiles of a bootstrap. Seeds are resampled, the tasks stay as they are: an
interval over tasks says how well these seeds' episodes determine the number, nothing about other
tasks or other training seeds. Tasks that were played on the same seeds are resampled together,
since their scenes are drawn from the same numbers and their returns are not independent; tasks on
different seeds are resampled apart.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
from scipy import stats

from gato_jax import randomness
from gato_jax.env import results
from gato_jax.env.results import EXPERT, POLICY, RANDOM
from gato_jax.errors import GatoError
from gato_jax.evaluate.baselines import Baseline
from gato_jax.randomness import FIRST_EVALUATION_SEED

CONFIDENCE = 0.95
RESAMPLES = 2000

COMMANDS = {EXPERT: "python -m experiments.collect", RANDOM: "python -m experiments.evaluate"}
Interval = tuple[float, float]
_NO_INTERVAL = (math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class TaskScore:
  """One task's normalised score, in per cent of the expert.

  The bootstrap interval of 95 % is over the agent's and the random actor's episodes. The expert
  return, a maximum of window means, is held fixed. The interval is NaN where the agent's returns
  are all equal: resampling them shows no spread, which is not the same as certainty.

  Attributes:
    task: "domain.task".
    score: 100 (agent - random) / (expert - random).
    low: Lower end of the interval.
    high: Upper end of the interval.
    agent_mean: Mean return of the agent.
    random_mean: Mean return of the random actor.
    expert_return: As of `results.expert_return`, or a mean where nothing else is known.
    episodes: Number of the agent's episodes.
    success: Share of the agent's successful episodes; None where the task defines no success.
    expert_success: The same of the expert.
    success_low: Lower end of the interval of the agent's success; NaN where it has no spread.
    success_high: Upper end of that interval.
    random_fixed: True if only the random actor's mean is known, which is then held fixed, too.
    resampled: Score of each resample, float64 [RESAMPLES].
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
  """Returns the first row of each (task, actor, seed, step), so that no episode counts twice."""
  kept: dict[tuple, results.Row] = {}
  for row in rows:
    kept.setdefault((row.task, row.actor, row.seed, row.step), row)
  return list(kept.values())


def task_scores(
  rows: Iterable[results.Row],
  actor: str = POLICY,
  step: int | None = None,
  baselines: Mapping[str, Baseline] | None = None,
) -> list[TaskScore]:
  """Returns the scores of every task that an actor played, sorted by name.

  Args:
    rows: Rows of the actor and of baselines.
    actor: Whose episodes are scored.
    step: Training step of its checkpoint; by default the newest one in the rows.
    baselines: "domain.task" -> means, for tasks without rows of a baseline.

  Raises:
    GatoError: The actor has no rows, a baseline is missing, or the expert is no better than the
      random actor.
  """
  rows = unique(rows)
  step = newest_step(rows, actor) if step is None else step

  scores = []
  for task, task_rows in _by_task(rows).items():
    played = [row for row in task_rows if row.actor == actor and row.step == step]
    if played:
      scale = _Scale.from_rows(task, task_rows, baselines=baselines or {})
      scores.append(_task_score(task, played, scale=scale))

  if not scores:
    raise GatoError(
      f"no rows of actor {actor!r} at step {step}: there is nothing to score; "
      "run experiments.evaluate"
    )
  return scores


def last_scores(rows: Iterable[results.Row], baselines: Mapping[str, Baseline]) -> dict[str, float]:
  """Returns "domain.task" -> score at its last step, for the tasks that can be scored."""
  by_task = scores_by_step(rows, baselines)
  return {task: by_step[max(by_step)] for task, by_step in by_task.items()}


def scores_by_step(
  rows: Iterable[results.Row], baselines: Mapping[str, Baseline], actor: str = POLICY
) -> dict[str, dict[int, float]]:
  """Returns "domain.task" -> step -> score, for the tasks that can be scored."""
  scores: dict[str, dict[int, float]] = {}

  for task, task_rows in _by_task(unique(rows)).items():
    returns_by_step: dict[int, list[float]] = {}
    for row in task_rows:
      if row.actor == actor:
        returns_by_step.setdefault(row.step, []).append(row.episode_return)
    if not returns_by_step:
      continue

    # `task_scores` reports what is missing.
    try:
      scale = _Scale.from_rows(task, task_rows, baselines=baselines)
    except GatoError:
      continue

    scores[task] = {
      step: scale.score(float(np.mean(returns)))
      for step, returns in sorted(returns_by_step.items())
    }

  return scores


def newest_step(rows: Iterable[results.Row], actor: str = POLICY) -> int:
  """Returns the largest training step of an actor's rows."""
  steps = [row.step for row in rows if row.actor == actor]
  if not steps:
    raise GatoError(
      f"no rows of actor {actor!r}: there is nothing to score; run experiments.evaluate"
    )
  return max(steps)


def unplayed(rows: Iterable[results.Row], scores: Sequence[TaskScore]) -> list[str]:
  """Returns the tasks with rows of any actor that have no score, which a report names."""
  return sorted({row.task for row in rows} - {score.task for score in scores})


def _by_task(rows: Iterable[results.Row]) -> dict[str, list[results.Row]]:
  """Returns "domain.task" -> its rows, sorted by name."""
  by_task: dict[str, list[results.Row]] = {}
  for row in rows:
    by_task.setdefault(row.task, []).append(row)
  return dict(sorted(by_task.items()))


@dataclasses.dataclass(frozen=True)
class _Scale:
  """The returns that are score 0 and score 100 of a task.

  Attributes:
    random_returns: Float64 [n]; the mean alone, [1], if only that is known.
    random_seeds: Seeds of these episodes; () for a mean.
    expert_return: As in TaskScore.
    expert_success: As in TaskScore.
    random_fixed: As in TaskScore.
  """

  random_returns: np.ndarray
  random_seeds: tuple[int, ...]
  expert_return: float
  expert_success: float | None
  random_fixed: bool

  @classmethod
  def from_rows(
    cls, task: str, rows: Sequence[results.Row], baselines: Mapping[str, Baseline]
  ) -> "_Scale":
    """Returns the scale from a task's rows, or from its means; GatoError without either."""
    # In the order of collection, on which the expert return depends.
    ordered = sorted(rows, key=lambda row: row.seed)
    random = [row for row in ordered if row.actor == RANDOM]
    expert = [row for row in ordered if row.actor == EXPERT]

    # Episodes that were played to measure the expert are not one sample with those that were
    # collected. Who has them asked for them (evaluate.baselines="measure"), so they count alone.
    expert = [row for row in expert if row.seed >= FIRST_EVALUATION_SEED] or expert

    known = baselines.get(task)
    for actor, played in ((RANDOM, random), (EXPERT, expert)):
      if not played and known is None:
        raise GatoError(
          f"{task}: no rows of the {actor!r} baseline, so there is no normalised score; "
          f"run {COMMANDS[actor]} with this task in the config, "
          "or evaluate with --config.evaluate.baselines=scores"
        )

    if random:
      random_returns = [row.episode_return for row in random]
    else:
      assert known is not None
      random_returns = [known.random]

    if expert:
      expert_return = results.expert_return([row.episode_return for row in expert])
      expert_success = _success_rate(expert)
    else:
      assert known is not None
      expert_return, expert_success = known.expert, known.expert_success

    scale = cls(
      random_returns=np.array(random_returns),
      random_seeds=tuple(row.seed for row in random),
      expert_return=expert_return,
      expert_success=expert_success,
      random_fixed=not random,
    )
    if scale.expert_return <= scale.random_mean:
      raise GatoError(
        f"{task}: the expert's return {scale.expert_return:g} is not above the random actor's "
        f"{scale.random_mean:g}, so a score has no meaning; collect with a better expert "
        "or leave the task out"
      )
    return scale

  @property
  def random_mean(self) -> float:
    return float(np.mean(self.random_returns))

  def score(self, agent_mean: float) -> float:
    return 100 * (agent_mean - self.random_mean) / (self.expert_return - self.random_mean)

  def resampled_scores(self, agent_means: np.ndarray) -> np.ndarray:
    """Returns the scores [RESAMPLES] of the agent's resampled means [RESAMPLES]."""
    # A baseline of which only the mean is known resamples to itself.
    random_means = resampled_means(self.random_returns, self.random_seeds)
    return 100 * (agent_means - random_means) / (self.expert_return - random_means)


def _task_score(task: str, rows: Sequence[results.Row], scale: _Scale) -> TaskScore:
  rows = sorted(rows, key=lambda row: row.seed)
  returns = np.array([row.episode_return for row in rows])
  success = _success_rate(rows)

  # One column for returns and one for success: an episode is resampled with both.
  successes = [float(row.success or 0) for row in rows]
  columns = np.stack([returns, successes], axis=1)
  means, success_rates = resampled_means(columns, [row.seed for row in rows]).T
  resampled = scale.resampled_scores(means)

  low, high = percentiles(resampled) if np.ptp(returns) else _NO_INTERVAL
  success_low, success_high = _NO_INTERVAL
  if success not in (None, 0.0, 1.0):
    success_low, success_high = percentiles(success_rates)

  return TaskScore(
    task=task,
    score=scale.score(float(returns.mean())),
    low=low,
    high=high,
    agent_mean=float(returns.mean()),
    random_mean=scale.random_mean,
    expert_return=scale.expert_return,
    episodes=len(rows),
    success=success,
    expert_success=scale.expert_success,
    success_low=success_low,
    success_high=success_high,
    random_fixed=scale.random_fixed,
    resampled=resampled,
  )


def resampled_means(values: np.ndarray, seeds: Sequence[int], arm: str = "") -> np.ndarray:
  """Returns means of resampled episodes, [RESAMPLES, ...].

  Args:
    values: [n, ...], of the episodes of `seeds`, in the same order. The same seeds are always
      resampled alike, whatever the task.
    seeds: Seeds of the episodes.
    arm: Other arms are resampled apart, though they play the same seeds: their difference is then
      no narrower than it would be on other seeds.
  """
  # The seeds are the key of the stream, which makes the same seeds resample alike.
  generator = randomness.generator(f"bootstrap/{arm}/{list(seeds)}")
  indices = generator.integers(len(values), size=(RESAMPLES, len(values)))
  return values[indices].mean(axis=1)


def percentiles(resampled: np.ndarray) -> Interval:
  """Returns the interval of resampled statistics [RESAMPLES, ...] along the first axis."""
  tail = 50 * (1 - CONFIDENCE)  # per cent on each side
  return tuple(np.percentile(resampled, [tail, 100 - tail], axis=0))


def interval(
  scores: Sequence[TaskScore], statistic: Callable[[np.ndarray], np.ndarray]
) -> Interval:
  """Returns the interval of a statistic over tasks.

  Args:
    scores: Scores with their resamples.
    statistic: Scores [tasks, RESAMPLES] -> [RESAMPLES, ...].
  """
  resampled = []
  for score in scores:
    assert score.resampled is not None, f"{score.task} has no resamples"
    resampled.append(score.resampled)
  return percentiles(statistic(np.stack(resampled)))


def _success_rate(rows: Sequence[results.Row]) -> float | None:
  known = [row.success for row in rows if row.success is not None]
  return float(np.mean(known)) if known else None


def bar(scores: Sequence[TaskScore], threshold: float = 50) -> tuple[int, int]:
  """Returns (tasks at or above `threshold` per cent of the expert, all tasks).

  The paper has 450 of 604 at 50.
  """
  return sum(score.score >= threshold for score in scores), len(scores)


def by_domain(scores: Sequence[TaskScore]) -> dict[str, list[TaskScore]]:
  """Returns domain -> its scores, in alphabetic order."""
  domains: dict[str, list[TaskScore]] = {}
  for score in sorted(scores, key=lambda score: score.task):
    domains.setdefault(score.domain, []).append(score)
  return domains


def domain_means(scores: Sequence[TaskScore]) -> dict[str, float]:
  """Returns domain -> mean over its tasks."""
  return {
    domain: float(np.mean([score.score for score in domain_scores]))
    for domain, domain_scores in by_domain(scores).items()
  }


def mean_over_domains(scores: Sequence[TaskScore]) -> float:
  """Returns the mean over domains of the mean over tasks: the y of the paper's scaling figure."""
  return float(np.mean(list(domain_means(scores).values())))


def interquartile_mean(scores: Sequence[TaskScore]) -> float:
  """Returns the mean of the tasks' scores without the lowest and the highest quarter."""
  return float(stats.trim_mean([score.score for score in scores], 0.25))


def intervals(scores: Sequence[TaskScore], threshold: float = 50) -> dict[str, Interval]:
  """Returns name of a function above -> interval of the number over all tasks that it computes."""
  domain_indices = [
    [index for index, score in enumerate(scores) if score.domain == domain]
    for domain in by_domain(scores)
  ]

  # Each statistic takes scores [tasks, RESAMPLES] and returns [RESAMPLES].
  def tasks_at_threshold(resampled: np.ndarray) -> np.ndarray:
    return np.sum(resampled >= threshold, axis=0)

  def over_domains(resampled: np.ndarray) -> np.ndarray:
    return np.mean([resampled[indices].mean(axis=0) for indices in domain_indices], axis=0)

  def without_extremes(resampled: np.ndarray) -> np.ndarray:
    return stats.trim_mean(resampled, 0.25, axis=0)

  return {
    "bar": interval(scores, tasks_at_threshold),
    "mean_over_domains": interval(scores, over_domains),
    "interquartile_mean": interval(scores, without_extremes),
  }
