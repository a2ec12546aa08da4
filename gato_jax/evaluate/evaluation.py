"""A run's rows: those that are there, playing those that are missing, films, and what went wrong."""

import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import tqdm

from gato_jax import baselines, files, results
from gato_jax.errors import GatoError
from gato_jax.evaluate import jobs
from gato_jax.evaluate.config import EvaluateConfig
from gato_jax.evaluate.pool import Simulators
from gato_jax.report import scores, videos


class Evaluation:
  """Of one workdir. Every episode is on the disk when it ends, so a kill costs those that run.

  Attributes:
    path: of the rows. rows: all of them, read once. failures: of this process.
  """

  def __init__(self, tasks: jobs.Tasks, workdir: pathlib.Path, config: EvaluateConfig, simulators: Simulators):
    self.tasks = tasks
    self.path = pathlib.Path(workdir) / "results.jsonl"
    self.rows = list(results.read(self.path))
    self.failures: list[jobs.Failure] = []
    self._config = config
    self._simulators = simulators
    self._workdir = pathlib.Path(workdir)
    self._last_engine: tuple[Any, frozenset[str], Any] = (None, frozenset(), None)

  def baselines(
    self, expert_rows: Callable[[str, str], Sequence[results.Row]], means: Callable[[str], Mapping[str, Any]]
  ) -> list[jobs.Job]:
    """Puts down what is known of random and expert returns; returns what is left to be played.

    Args:
      expert_rows: (domain name, task) -> rows of the raw logs. means: domain name -> its scores.json.

    Raises:
      GatoError: the source that the config names has nothing about a task.
    """
    known = baselines.read(self._workdir)
    present = {(row.task, row.actor, row.seed) for row in self.rows}
    played: dict[str, list] = {jobs.RANDOM: [], jobs.EXPERT: []}
    for domain, task in self.tasks:
      name, source = f"{domain.name}.{task}", self._config.baselines
      logged = expert_rows(domain.name, task) if source in ("available", "logs") else []
      logged = [row for row in logged if row.actor == jobs.EXPERT]  # the disturbed ones are for training only
      if source == "logs" and not logged:
        raise GatoError(f"no expert episodes of {name}; run experiments.collect, or --config.evaluate.baselines=scores")
      if source == "scores" or (source == "available" and not logged):
        known[name] = baselines.from_scores(means(domain.name), domain.name, task)
        continue
      self._keep([row for row in logged if (row.task, row.actor, row.seed) not in present])
      played[jobs.RANDOM].append((domain, task))
      if source == "measure":
        played[jobs.EXPERT].append((domain, task))
    if known:
      baselines.write(self._workdir, known)
    episodes = self._config.baseline_episodes
    return [job for actor, tasks in played.items() for job in jobs.missing(tasks, actor, 0, episodes, self.rows)]

  def check_settings(self, act: Any) -> None:
    """GatoError where the policy's rows were played with another ActConfig; else puts this one beside them."""
    path, ours = self._workdir / "act.json", dataclasses.asdict(act)
    if path.exists() and any(row.actor == jobs.POLICY for row in self.rows):
      theirs = dataclasses.asdict(type(act)()) | json.loads(path.read_text())  # a newer setting had its default
      different = [f"{name} {theirs[name]!r}, not {value!r}" for name, value in ours.items() if theirs[name] != value]
      if different:
        raise GatoError(
          f"{self.path} was played with act.{', act.'.join(different)}; give other settings a folder of their own: "
          "--results=FOLDER"
        )
    files.write_json(path, ours, indent=2)

  def missing(self, step: int) -> list[jobs.Job]:
    """Episodes of the policy at a checkpoint that have no row, the worst known tasks first."""
    last = scores.last_scores(self.rows, baselines.read(self._workdir))
    ordered = jobs.worst_known_first(self.tasks, last)
    return jobs.missing(ordered, jobs.POLICY, step, self._config.episodes, self.rows)

  def play(self, todo: Sequence[jobs.Job], what: str, policy: Any = None, act: Any = None, minutes: float = 0.0) -> int:
    """Plays jobs until they are done or `minutes`, where not 0, are over; returns how many were left.

    Args:
      policy: whose checkpoint acts, and its ActConfig; not needed where no job is the policy's.
    """
    if not todo:
      return 0
    engine, check_spec = None, lambda spec: None
    needed = {job.name for job in todo if job.actor == jobs.POLICY}
    if needed:
      asked = {name: policy.asked(name, act) for name in needed}
      todo = [dataclasses.replace(j, action_steps=act.action_steps, asked=asked.get(j.name)) for j in todo]
    with tqdm.tqdm(total=len(todo), desc=what, unit="episode", dynamic_ncols=True) as bar:
      if needed:
        if self._config.videos:  # whatever is missing now, every task is filmed
          needed = {f"{domain.name}.{task}" for domain, task in self.tasks}
        engine = self._engine(policy, needed, act, lambda text: bar.set_postfix_str(f"compiles {text}"))
        check_spec = policy.check_environment
      began, before = time.monotonic(), self._simulators.actions
      until = began + (60 * minutes or float("inf"))  # compiling takes as long as it takes
      for job, outcome in self._simulators.play(todo, engine, check_spec, until):
        if isinstance(outcome, jobs.Failure):
          self._fail(outcome)
        elif not job.film:
          self._keep([outcome])
        rate = (self._simulators.actions - before) / (time.monotonic() - began)
        bar.set_postfix_str(f"{rate:,.0f} actions/s, {_few(self._simulators.running)}")
        bar.update()
      return bar.total - bar.n

  def _engine(self, policy: Any, tasks: set[str], act: Any, say: Callable[[str], None]) -> Any:
    """Compiled for these tasks; the last one where it will do."""
    last, known, engine = self._last_engine
    if last is not policy or not known.issuperset(tasks):
      engine = policy.engine(sorted(tasks), self._simulators.workers, act)
      engine.compile(on_shape=say)
      self._last_engine = policy, frozenset(tasks), engine
    return engine

  def film(self, policy: Any, act: Any) -> None:
    """Plays each task's best and worst episode at the policy's checkpoint again, with pictures."""
    folder = self._workdir / "videos"
    videos.delete_others(folder, policy.step)
    todo = jobs.films(self.tasks, policy.step, self.rows, folder)
    present = {(one.task, one.kind, one.seed) for one in videos.find(folder)}
    self.play([j for j in todo if (j.name, j.film.kind, j.seed) not in present], "film", policy, act)

  def _keep(self, rows: Sequence[results.Row]) -> None:
    results.append(self.path, rows)
    self.rows += rows

  def _fail(self, failure: jobs.Failure) -> None:
    results.append(self._workdir / "failures.jsonl", [failure])
    self.failures.append(failure)
    tqdm.tqdm.write(f"{failure.task}, {failure.actor}, seed {failure.seed}: {failure.reason}", file=sys.stderr)

  def check(self) -> None:
    """GatoError where simulators failed: their episodes have no rows, the next run plays them."""
    if not self.failures:
      return
    left = "".join(f"; {task} was given up, {n} more not played" for task, n in self._simulators.given_up.items())
    raise GatoError(
      f"{len(self.failures)} episodes failed{left}; see {self._workdir / 'failures.jsonl'} and {self._simulators.log}, "
      "the same command plays them again"
    )

  def scores(self) -> tuple[list[scores.TaskScore], list[str]]:
    """Of the newest checkpoint, of tasks whose baselines are there, with intervals; and the tasks left out."""
    known = baselines.read(self._workdir)
    complete = scores.scores_by_step(self.rows, known)
    rows = [row for row in self.rows if row.task in complete]
    scored = scores.task_scores(rows, baselines=known) if rows else []
    return scored, scores.unplayed(self.rows, scored)


def _few(names: Sequence[str]) -> str:
  return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
