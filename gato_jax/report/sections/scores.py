"""Runs as arms: what each scores in each task, and how far it is from the first of them.

Runs of one label "arm" are one arm: they may have played different tasks, and the episodes of those that played the
same one count together.
"""

import collections
import dataclasses
import fnmatch
import functools
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from scipy import stats

from gato_jax.errors import GatoError
from gato_jax.report import figures, study_page
from gato_jax.report import scores as scoring

_POLICY = "gato"
_REPEAT = 1 << 40  # added to the seeds of an arm's second run, so that its episodes count beside those of the first


@dataclasses.dataclass(frozen=True)
class Score:
  """Of one arm in one task.

  Attributes:
    of: the score and its interval. episodes: the score of each episode, float64 [n]. seeds: of the episodes.
    successes: None where the task defines no success.
  """

  of: scoring.TaskScore
  episodes: np.ndarray
  seeds: tuple[int, ...]
  successes: int | None


@dataclasses.dataclass(frozen=True)
class Estimate:
  """A number with its interval; NaN where no resample differs from another."""

  value: float
  low: float
  high: float

  @classmethod
  def of(cls, value: float, resampled: np.ndarray) -> "Estimate":
    low, high = scoring.percentiles(resampled) if np.ptp(resampled) else (math.nan, math.nan)
    return cls(value, low, high)

  @property
  def excludes_0(self) -> bool | None:
    """None where there is no interval."""
    return None if math.isnan(self.low) else bool(self.low > 0 or self.high < 0)

  def __str__(self) -> str:
    return f"{self.value:.1f} " + ("(no spread)" if math.isnan(self.low) else f"[{self.low:.1f}, {self.high:.1f}]")


Arms = Mapping[str, Mapping[str, Score]]


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Scores by arm, means over tasks, and differences to the first arm.

  Raises:
    GatoError: nothing has been played, a run has no label "arm", or a baseline is missing.
  """
  runs = study.with_scores()
  arms = scored(runs)
  tasks = sorted({task for of_arm in arms.values() for task in of_arm})
  groups = task_groups([task for task in tasks if all(task in of_arm for of_arm in arms.values())], study.config)
  means = [_mean_row(name, members, arm, arms) for name, members in groups.items() for arm in arms]
  differences = [_difference_row(task, arm, arms) for task in tasks for arm in list(arms)[1:]]
  differences = [row for row in differences if row]
  rows = [_score_row(task, arm, arms[arm][task]) for task in tasks for arm in arms if task in arms[arm]]
  png = out / "scores.png"
  bars = {arm: {task: dataclasses.astuple(_estimate(one)) for task, one in of.items()} for arm, of in arms.items()}
  for row in means:
    bars[row["arm"]][f"mean: {row['tasks']} ({row['n']})"] = row["mean"], row["low"], row["high"]
  figures.arm_bars(bars, [*(f"mean: {name} ({len(members)})" for name, members in groups.items()), *tasks], png)
  tables: dict[str, Sequence[Mapping[str, Any]]] = {
    "task_by_arm": [{"task": task} | {arm: _cell(arms[arm].get(task)) for arm in arms} for task in tasks],
    "means": means,
    "differences": differences,
    "scores": rows,
  }
  if any(one.successes is not None for of_arm in arms.values() for one in of_arm.values()):
    tables["success_by_arm"] = [
      {"task": task} | {arm: _success_cell(arms[arm].get(task)) for arm in arms} for task in tasks
    ]
  caption = "Score of each arm in each task, and means over the tasks that all arms played, with 95 % intervals."
  return study_page.Section(
    title=f"{study.name}: scores by arm",
    text=list(_text(study, runs, arms, tasks, means, differences)),
    figures=[(png, caption)],
    tables=tables,
  )


def scored(runs: Sequence[study_page.Played]) -> dict[str, dict[str, Score]]:
  """Arm -> "domain.task" -> its score, of each run's newest step; all arms are measured between the same baselines.

  Raises:
    GatoError: a run has no label "arm", or a baseline is missing.
  """
  baseline_rows = [row for run in runs for row in run.rows if row.actor != _POLICY]
  means = functools.reduce(lambda found, run: {**run.baselines, **found}, runs, {})
  by_arm: dict[str, list[study_page.Played]] = {}
  for run in runs:
    if "arm" not in run.labels:
      raise GatoError(f"study: run {run.run.name} has no label 'arm', which its report sorts by; it has {run.labels}")
    by_arm.setdefault(str(run.labels["arm"]), []).append(run)
  arms: dict[str, dict[str, Score]] = {}
  for arm, of_arm in by_arm.items():
    played = []
    for turn, run in enumerate(of_arm):
      step = scoring.newest_step(run.rows)
      newest = [row for row in scoring.unique(run.rows) if row.actor == _POLICY and row.step == step]
      played += [dataclasses.replace(row, seed=row.seed + turn * _REPEAT, step=0) for row in newest]
    arms[arm] = {}
    for one in scoring.task_scores([*baseline_rows, *played], step=0, baselines=means):
      of_task = sorted((row for row in played if row.task == one.task), key=lambda row: row.seed)
      returns = np.array([row.episode_return for row in of_task])
      episodes = 100 * (returns - one.random_mean) / (one.expert_return - one.random_mean)
      successes = None if one.success is None else sum(bool(row.success) for row in of_task)
      arms[arm][one.task] = Score(one, episodes, tuple(row.seed for row in of_task), successes)
  return arms


def task_groups(tasks: Sequence[str], config: Mapping[str, Any]) -> dict[str, list[str]]:
  """What means are taken over: all `tasks`, those that the study holds out and the others, each domain of several."""
  if not tasks:
    return {}
  patterns = [pattern if "." in pattern else f"{pattern}.*" for pattern in config.get("held_out", ())]
  held = [task for task in tasks if any(fnmatch.fnmatchcase(task, pattern) for pattern in patterns)]
  groups = {"all tasks": list(tasks), "held out": held, "trained": [task for task in tasks if task not in held]}
  if not held or len(held) == len(tasks):
    groups = {"held out" if held else "all tasks": list(tasks)}
  domains = collections.defaultdict(list)
  for task in tasks:
    domains[task.split(".", 1)[0]].append(task)
  return groups | {name: members for name, members in domains.items() if 1 < len(members) < len(tasks)}


def difference(first: Sequence[Score], other: Sequence[Score]) -> Estimate:
  """Returns the mean over tasks of `other` less `first`. Seeds are resampled, the same ones in all tasks.

  The baselines cancel but for their distance, which is held fixed.
  """
  value = np.mean([b.episodes.mean() - a.episodes.mean() for a, b in zip(first, other, strict=True)])
  resampled = []
  for a, b in zip(first, other, strict=True):
    mean = [scoring.resampled_means(one.episodes, one.seeds, arm) for arm, one in (("first", a), ("other", b))]
    resampled.append(mean[1] - mean[0])
  return Estimate.of(float(value), np.mean(resampled, axis=0))


def _estimate(one: Score) -> Estimate:
  return Estimate(one.of.score, one.of.low, one.of.high)


def _cell(one: Score | None) -> str:
  return "" if one is None else str(_estimate(one))


def _success(one: Score) -> tuple[float, float, float]:
  """The share of successes with its exact binomial interval, in per cent: it has one where none succeeded too."""
  test = stats.binomtest(one.successes, len(one.episodes))
  low, high = test.proportion_ci(scoring.CONFIDENCE)
  return tuple(float(100 * value) for value in (test.statistic, low, high))


def _success_cell(one: Score | None) -> str:
  if one is None or one.successes is None:
    return ""
  _, low, high = _success(one)
  return f"{one.successes} of {len(one.episodes)} [{low:.0f}, {high:.0f} %]"


def _mean_row(name: str, tasks: Sequence[str], arm: str, arms: Arms) -> dict[str, Any]:
  of_tasks = [arms[arm][task] for task in tasks]
  mean = Estimate.of(
    float(np.mean([one.of.score for one in of_tasks])), np.mean([one.of.resampled for one in of_tasks], axis=0)
  )
  row = {"tasks": name, "n": len(tasks), "arm": arm, "mean": mean.value, "low": mean.low, "high": mean.high}
  first = next(iter(arms))
  against = None if arm == first else difference([arms[first][task] for task in tasks], of_tasks)
  return row | _against(first, against)


def _difference_row(task: str, arm: str, arms: Arms) -> dict[str, Any]:
  """Empty where one of the two arms has not played the task."""
  first = next(iter(arms))
  if task not in arms[arm] or task not in arms[first]:
    return {}
  return {"task": task, "arm": arm} | _against(first, difference([arms[first][task]], [arms[arm][task]]))


def _against(first: str, found: Estimate | None) -> dict[str, Any]:
  names = f"less {first}", "difference_low", "difference_high", "excludes_0"
  return dict(zip(names, (found.value, found.low, found.high, found.excludes_0) if found else [None] * 4, strict=True))


def _score_row(task: str, arm: str, one: Score) -> dict[str, Any]:
  of = one.of
  row = {"task": task, "arm": arm, "score": of.score, "low": of.low, "high": of.high, "episodes": of.episodes}
  row |= {"return": of.agent_mean, "random": of.random_mean, "expert": of.expert_return}
  success = [None] * 3 if one.successes is None else _success(one)
  return row | dict(zip(("success_percent", "success_low", "success_high"), success, strict=True))


def _text(
  study: study_page.Study,
  runs: Sequence[study_page.Played],
  arms: Arms,
  tasks: Sequence[str],
  means: Sequence[Mapping[str, Any]],
  differences: Sequence[Mapping[str, Any]],
) -> Iterable[str]:
  first = next(iter(arms))
  episodes = sorted({one.of.episodes for of_arm in arms.values() for one in of_arm.values()})
  counts = f"{episodes[0]}" if len(episodes) == 1 else f"{episodes[0]} to {episodes[-1]}"
  yield (
    f"Score: 0 is the random actor's return, 100 the expert's. {len(arms)} arms, {len(tasks)} tasks, {counts} episodes "
    "a task and arm. Intervals are 95 %, from resampling episodes within each task (success: exact binomial): they say "
    "nothing about other training seeds."
  )
  for name in dict.fromkeys(row["tasks"] for row in means):
    of_group = [row for row in means if row["tasks"] == name]
    values = "; ".join(f"{row['arm']} {Estimate(row['mean'], row['low'], row['high'])}" for row in of_group)
    yield f"Mean over {name} ({of_group[0]['n']}): {values}."
  known = [row for row in differences if row["excludes_0"] is not None]
  if known:
    above = sum(row["excludes_0"] and row["difference_low"] > 0 for row in known)
    below = sum(row["excludes_0"] and row["difference_high"] < 0 for row in known)
    yield (
      f"Against {first}, task by task: of {len(known)} differences {above} are above 0 and {below} below, their "
      f"interval excluding 0; by chance about {len(known) / 20:.1f} would. Both arms' episodes are resampled."
    )
  for arm, of_arm in arms.items():
    missing = [task for task in tasks if task not in of_arm]
    if missing:
      yield f"{arm} has not played {', '.join(missing)}; means are over the tasks that all arms played."
  unplayed = [run.run.name for run in study.runs if "evaluate" in run.run.verbs and run not in runs]
  if unplayed:
    yield f"Not played yet: {', '.join(unplayed)}."
