"""Runs as arms: the score of each in each task, and its distance to the first arm.

Runs with the same label "arm" form one arm. They may have played different tasks; episodes of
those that played the same task count together.
"""

import collections
import dataclasses
import fnmatch
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from experiments.analysis.report import repeated_actions, run_figures, study_page
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines
from gato_jax.evaluate import scores as scoring

# Added to the seeds of an arm's second run, so that its episodes count beside those of the first.
_SEED_OFFSET = 1 << 40


@dataclasses.dataclass(frozen=True)
class ArmScore:
  """The score of one arm in one task.

  Attributes:
    task_score: The score and its interval.
    episodes: The score of each episode, float64 [n].
    seeds: Of the episodes.
    successes: Number of successful episodes, None if the task defines no success.
  """

  task_score: scoring.TaskScore
  episodes: np.ndarray
  seeds: tuple[int, ...]
  successes: int | None


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number with its interval, NaN if all resamples are equal."""

  value: float
  low: float
  high: float

  @classmethod
  def of(cls, value: float, resampled: np.ndarray) -> "Estimate":
    """Returns the estimate with the interval of resamples [RESAMPLES]."""
    if not np.ptp(resampled):
      return cls(value, math.nan, math.nan)
    low, high = scoring.percentiles(resampled)
    return cls(value, float(low), float(high))

  @property
  def excludes_0(self) -> bool | None:
    """True if 0 is outside of the interval; None without an interval."""
    return None if math.isnan(self.low) else bool(self.low > 0 or self.high < 0)

  def __str__(self) -> str:
    interval = f"[{self.low:.1f}, {self.high:.1f}]"
    return f"{self.value:.1f} {'(no spread)' if math.isnan(self.low) else interval}"


Arms = Mapping[str, Mapping[str, ArmScore]]
_Row = dict[str, Any]


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Returns scores by arm, means over tasks, and differences to the first arm.

  Raises:
    GatoError: If nothing has been played, a run has no label "arm", or a baseline is missing.
  """
  runs = study.with_scores()
  arms = scored(runs)
  tasks = sorted({task for of_arm in arms.values() for task in of_arm})
  # Means compare arms, so they are over the tasks that all arms played.
  common = [task for task in tasks if all(task in of_arm for of_arm in arms.values())]
  groups = task_groups(common, study.config)

  means = [_mean_row(name, members, arm, arms) for name, members in groups.items() for arm in arms]
  differences = [
    row for task in tasks for arm in list(arms)[1:] if (row := _difference_row(task, arm, arms))
  ]
  tables: dict[str, Sequence[Mapping[str, Any]]] = {
    "task_by_arm": [
      {"task": task} | {arm: _cell(arms[arm].get(task)) for arm in arms} for task in tasks
    ],
    "means": means,
    "differences": differences,
    "scores": [
      _score_row(task, arm, arms[arm][task]) for task in tasks for arm in arms if task in arms[arm]
    ],
  }

  # Rows of older versions know no repeats.
  if repeats := repeated_actions.by_arm([(str(run.labels["arm"]), run.rows) for run in runs]):
    tables["repeated_actions"] = repeats

  # Most domains define no success.
  if any(score.successes is not None for of_arm in arms.values() for score in of_arm.values()):
    tables["success_by_arm"] = [
      {"task": task} | {arm: _success_cell(arms[arm].get(task)) for arm in arms} for task in tasks
    ]

  png = out / "scores.png"
  _draw(arms, means, tasks, png)
  caption = (
    "Score of each arm in each task, and means over the tasks that all arms played, with 95 %"
    " intervals."
  )
  return study_page.Section(
    title=f"{study.name}: scores by arm",
    text=list(_text(study, runs, arms, tasks, means, differences)),
    figures=[(png, caption)],
    tables=tables,
  )


def _draw(arms: Arms, means: Sequence[_Row], tasks: Sequence[str], path: pathlib.Path) -> None:
  """Draws a bar per arm for each mean, then for each task."""
  bars = {
    arm: {task: dataclasses.astuple(_estimate(score)) for task, score in of_arm.items()}
    for arm, of_arm in arms.items()
  }
  # Names of the means, as a dict that keeps their order.
  mean_names: dict[str, None] = {}
  for row in means:
    name = f"mean: {row['tasks']} ({row['n']})"
    mean_names[name] = None
    bars[row["arm"]][name] = (row["mean"], row["low"], row["high"])

  run_figures.arm_bars(bars, [*mean_names, *tasks], path)


def scored(runs: Sequence[study_page.Played]) -> dict[str, dict[str, ArmScore]]:
  """Returns arm -> "domain.task" -> its score, at each run's newest step.

  All arms are measured between the same baselines, those of all runs together.

  Raises:
    GatoError: If a run has no label "arm", or a baseline is missing.
  """
  baseline_rows = [row for run in runs for row in run.rows if row.actor != results.POLICY]
  # The first run that has a task's means decides.
  means: dict[str, baselines.Baseline] = {}
  for run in runs:
    means = {**run.baselines, **means}

  by_arm: dict[str, list[study_page.Played]] = {}
  for run in runs:
    if "arm" not in run.labels:
      raise GatoError(
        f"study: run {run.run.name} has no label 'arm', which its report sorts by; it has"
        f" {run.labels}"
      )
    by_arm.setdefault(str(run.labels["arm"]), []).append(run)

  return {arm: _score_arm(of_arm, baseline_rows, means) for arm, of_arm in by_arm.items()}


def _score_arm(
  runs: Sequence[study_page.Played],
  baseline_rows: Sequence[results.Row],
  means: Mapping[str, baselines.Baseline],
) -> dict[str, ArmScore]:
  """Returns task -> the score of an arm's runs together."""
  played = []
  for index, run in enumerate(runs):
    step = scoring.newest_step(run.rows)
    for row in scoring.unique(run.rows):
      if row.actor == results.POLICY and row.step == step:
        # Runs of an arm may have trained for different numbers of steps.
        played.append(dataclasses.replace(row, seed=row.seed + index * _SEED_OFFSET, step=0))

  by_task = {}
  for score in scoring.task_scores([*baseline_rows, *played], step=0, baselines=means):
    of_task = [row for row in played if row.task == score.task]
    of_task.sort(key=lambda row: row.seed)

    returns = np.array([row.episode_return for row in of_task])
    scale = score.expert_return - score.random_mean
    by_task[score.task] = ArmScore(
      task_score=score,
      episodes=100 * (returns - score.random_mean) / scale,
      seeds=tuple(row.seed for row in of_task),
      successes=None if score.success is None else sum(bool(row.success) for row in of_task),
    )
  return by_task


def task_groups(tasks: Sequence[str], config: Mapping[str, Any]) -> dict[str, list[str]]:
  """Returns the groups of tasks that means are taken over.

  These are all tasks, those that the study holds out, the others, and each domain of several.
  """
  if not tasks:
    return {}

  # A domain's name holds out all of its tasks.
  patterns = [
    pattern if "." in pattern else f"{pattern}.*" for pattern in config.get("held_out", ())
  ]
  held_out = [
    task for task in tasks if any(fnmatch.fnmatchcase(task, pattern) for pattern in patterns)
  ]
  if held_out and len(held_out) < len(tasks):
    trained = [task for task in tasks if task not in held_out]
    groups = {"all tasks": list(tasks), "held out": held_out, "trained": trained}
  else:
    groups = {"held out" if held_out else "all tasks": list(tasks)}

  domains = collections.defaultdict(list)
  for task in tasks:
    domains[task.split(".", 1)[0]].append(task)
  for name, members in domains.items():
    if 1 < len(members) < len(tasks):
      groups[name] = members

  return groups


def difference(first: Sequence[ArmScore], other: Sequence[ArmScore]) -> Estimate:
  """Returns the mean over tasks of `other` less `first`.

  Seeds are resampled, the same ones in all tasks. Arms that played the same seeds are paired by
  seed, so that what a seed makes easy or hard for both cancels. The baselines cancel but for their
  distance, which is held fixed.
  """
  differences, resampled = [], []
  for a, b in zip(first, other, strict=True):
    differences.append(b.episodes.mean() - a.episodes.mean())
    if a.seeds == b.seeds:
      resampled.append(scoring.resampled_means(b.episodes - a.episodes, a.seeds, "paired"))
    else:
      # The names make the arms' draws independent, although they may share some seeds.
      resampled.append(
        scoring.resampled_means(b.episodes, b.seeds, "other")
        - scoring.resampled_means(a.episodes, a.seeds, "first")
      )

  return Estimate.of(float(np.mean(differences)), np.mean(resampled, axis=0))


def _estimate(score: ArmScore) -> Estimate:
  return Estimate(score.task_score.score, score.task_score.low, score.task_score.high)


def _cell(score: ArmScore | None) -> str:
  return "" if score is None else str(_estimate(score))


def _success(score: ArmScore) -> tuple[float, float, float]:
  """Returns the share of successes with its interval, in per cent.

  The interval is the exact binomial one, which exists without any success too.
  """
  test = stats.binomtest(score.successes, len(score.episodes))
  low, high = test.proportion_ci(scoring.CONFIDENCE)
  return 100 * float(test.statistic), 100 * float(low), 100 * float(high)


def _success_cell(score: ArmScore | None) -> str:
  if score is None or score.successes is None:
    return ""

  _, low, high = _success(score)
  return f"{score.successes} of {len(score.episodes)} [{low:.0f}, {high:.0f} %]"


def _mean_row(name: str, tasks: Sequence[str], arm: str, arms: Arms) -> _Row:
  """Returns the mean score of an arm over a group of tasks, and its distance to the first arm."""
  scores = [arms[arm][task] for task in tasks]
  values, resampled = [], []
  for score in scores:
    assert score.task_score.resampled is not None  # only scores without episodes have none
    values.append(score.task_score.score)
    resampled.append(score.task_score.resampled)
  mean = Estimate.of(float(np.mean(values)), np.mean(resampled, axis=0))

  row = {
    "tasks": name,
    "n": len(tasks),
    "arm": arm,
    "mean": mean.value,
    "low": mean.low,
    "high": mean.high,
  }

  first = next(iter(arms))
  if arm == first:
    return row | _difference_cells(first, None)
  return row | _difference_cells(first, difference([arms[first][t] for t in tasks], scores))


def _difference_row(task: str, arm: str, arms: Arms) -> _Row:
  """Returns the distance of an arm to the first one in a task; {} if one has not played it."""
  first = next(iter(arms))

  if task not in arms[arm] or task not in arms[first]:
    return {}

  estimate = difference([arms[first][task]], [arms[arm][task]])
  return {"task": task, "arm": arm} | _difference_cells(first, estimate)


def _difference_cells(first: str, estimate: Estimate | None) -> _Row:
  return {
    f"less {first}": estimate.value if estimate else None,
    "difference_low": estimate.low if estimate else None,
    "difference_high": estimate.high if estimate else None,
    "excludes_0": estimate.excludes_0 if estimate else None,
  }


def _score_row(task: str, arm: str, score: ArmScore) -> _Row:
  success: Sequence[float | None] = (None, None, None)
  if score.successes is not None:
    success = _success(score)

  task_score = score.task_score
  return {
    "task": task,
    "arm": arm,
    "score": task_score.score,
    "low": task_score.low,
    "high": task_score.high,
    "episodes": task_score.episodes,
    "return": task_score.agent_mean,
    "random": task_score.random_mean,
    "expert": task_score.expert_return,
    "success_percent": success[0],
    "success_low": success[1],
    "success_high": success[2],
  }


def _text(
  study: study_page.Study,
  runs: Sequence[study_page.Played],
  arms: Arms,
  tasks: Sequence[str],
  means: Sequence[_Row],
  differences: Sequence[_Row],
) -> Iterator[str]:
  """Yields the paragraphs of the section."""
  episodes = [score.task_score.episodes for of_arm in arms.values() for score in of_arm.values()]
  counts = str(min(episodes))
  if min(episodes) < max(episodes):
    counts += f" to {max(episodes)}"
  yield (
    f"Score: 0 is the random actor's return, 100 the expert's. {len(arms)} arms, {len(tasks)}"
    f" tasks, {counts} episodes per task and arm. Intervals are 95 %, from resampling episodes"
    " within each task (success: exact binomial): they say nothing about other training seeds."
  )

  for name in dict.fromkeys(row["tasks"] for row in means):
    of_group = [row for row in means if row["tasks"] == name]
    values = "; ".join(
      f"{row['arm']} {Estimate(row['mean'], row['low'], row['high'])}" for row in of_group
    )
    yield f"Mean over {name} ({of_group[0]['n']}): {values}."

  # Differences without spread have no interval.
  known = [row for row in differences if row["excludes_0"] is not None]
  if known:
    above = sum(row["excludes_0"] and row["difference_low"] > 0 for row in known)
    below = sum(row["excludes_0"] and row["difference_high"] < 0 for row in known)
    yield (
      f"Against {next(iter(arms))}, task by task: of {len(known)} differences {above} are above 0"
      f" and {below} below, with intervals that exclude 0; by chance about"
      f" {len(known) / 20:.1f} would. Both arms' episodes are resampled, together where they have"
      " the same seeds."
    )

  for arm, of_arm in arms.items():
    missing = [task for task in tasks if task not in of_arm]
    if missing:
      yield (
        f"{arm} has not played {', '.join(missing)}; means are over the tasks that all arms played."
      )

  unplayed = [run.run.name for run in study.runs if "evaluate" in run.run.verbs and run not in runs]
  if unplayed:
    yield f"Not played yet: {', '.join(unplayed)}."
