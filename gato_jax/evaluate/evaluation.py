"""Plays the missing episodes of a run, records videos, and reports failures."""

import collections
import contextlib
import dataclasses
import json
import pathlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gato_jax import progress
from gato_jax.env import results
from gato_jax.env.results import EXPERT, POLICY, RANDOM, Failure
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines, jobs, scores, videos
from gato_jax.evaluate.config import EvaluateConfig
from gato_jax.evaluate.precision import Precision
from gato_jax.evaluate.simulator_pool import Simulators
from gato_jax.storage import files, growing, paths
from gato_jax.task import TaskSpec


class Evaluation:
  """The evaluation of one workdir.

  Each episode is on the disk when it ends, so a kill costs those that run. In a bucket it costs
  those of the last seconds, too.

  Attributes:
    tasks: (domain, short name) of each task.
    path: File of the rows.
    rows: All of them; read once.
    failures: Failures of this process.
  """

  def __init__(
    self, tasks: jobs.Tasks, workdir: pathlib.Path, config: EvaluateConfig, simulators: Simulators
  ):
    """Reads the rows that exist.

    Args:
      tasks: What is evaluated.
      workdir: Directory of the rows, the failures and the videos.
      config: How much is played.
      simulators: The processes that play it.
    """
    self.tasks = tasks
    self.path = paths.path(workdir) / "results.jsonl"
    self.rows = list(results.read(self.path))
    self.failures: list[Failure] = []
    self._unwritten: list[results.Row] = []
    self._next_upload = 0.0
    self._config = config
    self._simulators = simulators
    self._workdir = paths.path(workdir)
    self._last_engine: tuple[Any, frozenset[str], Any] = (None, frozenset(), None)

  def baselines(
    self,
    expert_rows: Callable[[str, str], Sequence[results.Row]],
    means: Callable[[str], Mapping[str, Any]],
  ) -> list[jobs.Job]:
    """Writes down what is known of random and expert returns; returns what is left to be played.

    Args:
      expert_rows: (domain name, task) -> rows of the raw logs.
      means: domain name -> the content of its scores.json.

    Raises:
      GatoError: The source that the config names has nothing about a task.
    """
    source = self._config.baselines
    known = baselines.read(self._workdir)
    present = {(row.task, row.actor, row.seed) for row in self.rows}
    to_play: dict[str, list] = {RANDOM: [], EXPERT: []}

    for domain, task in self.tasks:
      name = f"{domain.name}.{task}"

      # Rows of disturbed episodes have another actor: they are for training only.
      logged: list[results.Row] = []
      if source in ("available", "logs"):
        logged = [row for row in expert_rows(domain.name, task) if row.actor == EXPERT]
      if source == "logs" and not logged:
        raise GatoError(
          f"no expert episodes of {name}; run experiments.collect, "
          "or --config.evaluate.baselines=scores"
        )

      if source == "scores" or (source == "available" and not logged):
        known[name] = baselines.from_scores(means(domain.name), domain.name, task=task)
        continue

      self._keep([row for row in logged if (row.task, row.actor, row.seed) not in present])
      to_play[RANDOM].append((domain, task))
      if source == "measure":
        to_play[EXPERT].append((domain, task))

    if known:
      baselines.write(self._workdir, known)

    # Baselines have no checkpoint: their rows have step 0.
    missing = []
    for actor, tasks in to_play.items():
      missing += jobs.missing(
        tasks, actor, step=0, episodes=self._config.baseline_episodes, rows=self.rows
      )
    return missing

  def check_settings(self, act: Any) -> None:
    """Writes an ActConfig beside the rows; GatoError if they were played with another one."""
    path = self._workdir / "act.json"
    ours = dataclasses.asdict(act)

    if path.exists() and any(row.actor == POLICY for row in self.rows):
      # A setting that is newer than the file had its default when the rows were played.
      defaults = dataclasses.asdict(type(act)())
      theirs = defaults | json.loads(path.read_text())
      different = [
        f"{name} {theirs[name]!r}, not {value!r}"
        for name, value in ours.items()
        if theirs[name] != value
      ]
      if different:
        raise GatoError(
          f"{self.path} was played with act.{', act.'.join(different)}; "
          "give other settings a folder of their own: --results=FOLDER"
        )

    files.write_json(path, ours, indent=2)

  def missing(self, step: int) -> list[jobs.Job]:
    """Returns the policy's episodes without a row at a checkpoint, the worst known tasks first."""
    last = scores.last_scores(self.rows, baselines.read(self._workdir))
    ordered = jobs.worst_known_first(self.tasks, last)
    precision = self._precision(step)
    return [
      job
      for job in jobs.missing(
        ordered, POLICY, step=step, episodes=self._config.episodes, rows=self.rows
      )
      if not precision.is_enough(job.name)
    ]

  def spared(self, step: int) -> dict[str, int]:
    """Returns task -> episodes that it was not worth playing (evaluate.until_width)."""
    precision = self._precision(step)
    missing = jobs.missing(
      self.tasks, POLICY, step=step, episodes=self._config.episodes, rows=self.rows
    )
    return collections.Counter(job.name for job in missing if precision.is_enough(job.name))

  def _precision(self, step: int) -> Precision:
    known = baselines.read(self._workdir) if self._config.until_width else {}
    return Precision(self._config.until_width, step, self.rows, known)

  def play(
    self,
    todo: Sequence[jobs.Job],
    label: str,
    policy: Any = None,
    act: Any = None,
    minutes: float = 0.0,
  ) -> int:
    """Plays jobs and keeps their rows and failures.

    Args:
      todo: The jobs.
      label: Begins the progress bar.
      policy: An agent.Policy, whose checkpoint acts; not needed where no job is the policy's.
      act: Its ActConfig.
      minutes: Time after which no job is begun; 0 to play all.

    Returns:
      The number of jobs that were not played.
    """
    if not todo:
      return 0

    policy_tasks = {job.name for job in todo if job.actor == POLICY}
    if policy_tasks:
      return_targets = {name: policy.return_target(name, act) for name in policy_tasks}
      todo = [
        dataclasses.replace(
          job,
          action_steps=act.action_steps,
          chunk_steps=policy.chunk_steps(act),
          return_target=return_targets.get(job.name),
        )
        for job in todo
      ]

    with contextlib.ExitStack() as stack:
      bar = stack.enter_context(progress.Bar(total=len(todo), desc=label, unit="episode"))
      engine = None
      check_spec: Callable[[TaskSpec], None] = lambda spec: None  # noqa: E731
      if policy_tasks:
        # Every task gets its videos, also those of which all episodes were played before: one
        # engine serves both.
        if self._config.videos:
          policy_tasks = {f"{domain.name}.{task}" for domain, task in self.tasks}
        engine = self._engine(
          policy,
          policy_tasks,
          act=act,
          on_shape=lambda text: bar.set_postfix_str(f"compiles {text}"),
        )
        check_spec = policy.check_environment

      # The time counts from here: compiling takes as long as it takes.
      began = time.monotonic()
      actions_before = self._simulators.actions
      until = began + (60 * minutes or float("inf"))

      precision = self._precision(policy.step if policy_tasks else 0)
      played = self._simulators.play(
        todo,
        engine,
        check_spec=check_spec,
        until=until,
        skip=lambda job: job.actor == POLICY and not job.video and precision.is_enough(job.name),
      )
      stack.callback(self._write_rows)
      for job, outcome in played:
        if isinstance(outcome, Failure):
          self._keep_failure(outcome)
        elif not job.video:
          self._keep([outcome])
          precision.add(outcome)

        seconds = time.monotonic() - began
        rate = (self._simulators.actions - actions_before) / seconds
        running = _abbreviate(self._simulators.running)
        bar.set_postfix_str(f"{rate:,.0f} actions/s" + (f", {running}" if running else ""))
        bar.update()

      return bar.total - bar.n

  def _engine(self, policy: Any, tasks: set[str], act: Any, on_shape: Callable[[str], None]) -> Any:
    """Returns an engine that was compiled for some tasks; the last one if it will do.

    Args:
      policy: The agent.Policy.
      tasks: "domain.task" of each.
      act: The ActConfig.
      on_shape: Called with a text for each program that is compiled.
    """
    last_policy, last_tasks, engine = self._last_engine
    if last_policy is not policy or not last_tasks.issuperset(tasks):
      engine = policy.engine(sorted(tasks), self._simulators.workers, act)
      engine.compile(on_shape=on_shape)
      self._last_engine = (policy, frozenset(tasks), engine)
    return engine

  def record_videos(self, policy: Any, act: Any) -> None:
    """Plays the best and the worst episode of each task again, for videos.

    Args:
      policy: The agent.Policy, of the checkpoint that was evaluated.
      act: Its ActConfig.
    """
    directory = self._workdir / "videos"
    videos.delete_others(directory, policy.step)

    # Those of an interrupted run stay.
    present = {(video.task, video.kind, video.seed) for video in videos.find(directory)}
    todo = []
    for job in jobs.video_jobs(self.tasks, policy.step, rows=self.rows, directory=directory):
      assert job.video is not None
      if (job.name, job.video.kind, job.seed) not in present:
        todo.append(job)

    self.play(todo, "videos", policy=policy, act=act)

  def _keep(self, rows: Sequence[results.Row]) -> None:
    self.rows += rows
    self._unwritten += rows
    if not paths.is_remote(self.path) or time.monotonic() >= self._next_upload:
      self._write_rows()

  def _write_rows(self) -> None:
    if self._unwritten:
      results.append(self.path, self._unwritten)
      self._unwritten = []
      self._next_upload = time.monotonic() + growing.UPLOAD_SECONDS

  def _keep_failure(self, failure: Failure) -> None:
    results.append(self._workdir / "failures.jsonl", [failure])
    self.failures.append(failure)
    progress.Bar.write(
      f"{failure.task}, {failure.actor}, seed {failure.seed}: {failure.reason}", file=sys.stderr
    )

  def check(self) -> None:
    """Raises GatoError if simulators failed; the next run plays their episodes."""
    if not self.failures:
      return

    given_up = "".join(
      f"; {task} was given up, {count} more not played"
      for task, count in self._simulators.given_up.items()
    )
    raise GatoError(
      f"{len(self.failures)} episodes failed{given_up}; see {self._workdir / 'failures.jsonl'} "
      f"and {self._simulators.log}, the same command plays them again"
    )

  def scores(self) -> tuple[list[scores.TaskScore], list[str]]:
    """Returns the newest checkpoint's scores, and the names of the tasks without one."""
    known = baselines.read(self._workdir)
    complete = scores.scores_by_step(self.rows, known)
    rows = [row for row in self.rows if row.task in complete]

    scored = scores.task_scores(rows, baselines=known) if rows else []
    return scored, scores.unplayed(self.rows, scored)


def _abbreviate(names: Sequence[str]) -> str:
  rest = f" and {len(names) - 2} more" if len(names) > 2 else ""
  return ", ".join(names[:2]) + rest
