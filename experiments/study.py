"""Runs all runs of a study and what they need: python -m experiments.study --config=...

Each run executes its verbs one after the other, each verb in a process of its own whose output is
in <run>/<verb>.log. What is finished is not done again, so the same command continues after an
interruption or an error; a run whose settings have changed is done again. experiments.report with
the same config then compares the runs, and --list shows them and what is missing.

On a cluster: the same command by `python -m launch submit --verb=study`, or run by run with
--verb=train --flag=--run=NAME.
"""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping

from absl import flags

from experiments import cli
from experiments.analysis import studies
from gato_jax import progress
from gato_jax.errors import GatoError, check_name
from gato_jax.storage import files, lock
from gato_jax.train import checkpoint, export

_JOBS = flags.DEFINE_integer(
  "jobs", 1, "Number of runs at a time, each on its share of the cores.", lower_bound=1
)
_ONLY = flags.DEFINE_list(
  "only", [], "Names of runs to run, with the runs that they need; all by default."
)
_LIST = flags.DEFINE_bool(
  "list", False, "Shows the runs, what they change and what is missing, and runs nothing."
)


class Progress:
  """Keeps what is finished in <study>/finished.json: "run verb" -> hash of the run's settings."""

  def __init__(self, home: pathlib.Path, hashes: Mapping[str, str]):
    """Reads what is finished.

    Args:
      home: Directory of the study.
      hashes: Name of each run -> hash of its settings (settings_hash).
    """
    self.path = home / "finished.json"
    self._hashes = hashes
    self._finished = json.loads(self.path.read_text()) if self.path.exists() else {}
    # Several runs may finish at a time, each in a thread of its own.
    self._lock = threading.Lock()

  def has(self, run: studies.StudyRun, verb: str) -> bool:
    """Returns True when a verb is finished with the settings that the run has now."""
    return self._finished.get(f"{run.name} {verb}") == self._hashes[run.name]

  def add(self, run: studies.StudyRun, verb: str) -> None:
    """Records that a verb is finished."""
    with self._lock:
      self._finished[f"{run.name} {verb}"] = self._hashes[run.name]
      files.write_json(self.path, self._finished)


def settings_hash(experiment: cli.Experiment) -> str:
  """Returns a hash of everything that decides what the experiment's run does.

  Directories and the study's other runs are no part of it.
  """
  settings = json.loads(experiment.config.to_json())
  for name in ("study", "workdir", "data_dir"):
    settings.pop(name, None)

  assert experiment.run is not None
  return checkpoint.digest([settings, experiment.run.plays])


def chosen(runs: list[studies.StudyRun], names: list[str]) -> list[studies.StudyRun]:
  """Returns the runs of these names and those that they need, in the study's order.

  Without names it returns all runs.
  """
  by_name = {run.name: run for run in runs}
  selected = set()
  for name in names:
    while name:
      check_name(name, by_name, "run of the study")
      selected.add(name)
      name = by_name[name].needs

  return [run for run in runs if not names or run.name in selected]


class Player:
  """Executes the verbs of runs in processes of their own."""

  def __init__(self, home: pathlib.Path, finished: Progress, bar: progress.Bar, single: bool):
    """Prepares the environment of the processes.

    Args:
      home: Directory of the study.
      finished: What is finished; verbs are added to it.
      bar: Progress bar of verbs.
      single: True to give each process one core. Two such runs finish before two that wait for
        each other's threads.
    """
    self._home = home
    self._finished = finished
    self._bar = bar
    self._more_flags: dict[str, list[str]] = {"evaluate": []}

    # The runs of a study have few different shapes, so they share what is compiled.
    self._environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(home / "compiled")}
    if single:
      xla_flags = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
      self._environment["XLA_FLAGS"] = xla_flags
      self._more_flags["evaluate"].append("--config.evaluate.workers=1")

    self._running: set[subprocess.Popen] = set()
    self._stopped = False

  def play(self, run: studies.StudyRun) -> None:
    """Executes the run's missing verbs.

    Raises:
      GatoError: A verb failed.
    """
    self._bar.set_postfix_str(run.name)
    directory = self._home / run.name
    directory.mkdir(parents=True, exist_ok=True)
    config_flags = [argument for argument in sys.argv[1:] if argument.startswith("--config")]

    for verb in run.verbs:
      if self._finished.has(run, verb):
        continue

      verb_flags = [*config_flags, f"--run={run.name}", *self._more_flags.get(verb, [])]
      # A run that trained itself is played at all its checkpoints, for its learning curve; one
      # that plays another's checkpoint takes the newest.
      if verb == "evaluate" and not run.plays:
        verb_flags.append("--steps=kept")

      log = directory / f"{verb}.log"
      status = self._call([sys.executable, "-m", f"experiments.{verb}", *verb_flags], log)
      if status:
        raise GatoError(
          f"{run.name}: {verb} ended with status {status}: {_last_error(log)}; "
          f"its output is in {log}"
        )

      self._finished.add(run, verb)
      self._bar.update()

  def _call(self, command: list[str], log: pathlib.Path) -> int:
    """Runs a command with its output in `log` and returns its exit status."""
    if self._stopped:
      raise GatoError("interrupted")

    with log.open("w") as file:
      process = subprocess.Popen(
        command, stdout=file, stderr=subprocess.STDOUT, env=self._environment
      )
      self._running.add(process)
      status = process.wait()

    self._running.discard(process)
    return status

  def stop(self) -> None:
    """Ends the running processes as Ctrl-C would, so that training saves a checkpoint."""
    self._stopped = True
    # A copy: the threads that wait for the processes remove them from the set.
    for process in list(self._running):
      process.terminate()


def _last_error(log: pathlib.Path) -> str:
  """Returns the last error of a verb's output, or its last line."""
  lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
  if not lines:
    return "it says nothing"

  errors = [line for line in lines if line.startswith("error:")]
  return (errors or lines)[-1]


def run_all(runs: list[studies.StudyRun], player: Player, bar: progress.Bar) -> list[str]:
  """Plays the runs, --jobs at a time, each after the run that it needs.

  Returns:
    The messages of the runs that failed. What needs a failed run is not played.
  """
  waiting = {run.name: run for run in runs}
  running: dict[concurrent.futures.Future, studies.StudyRun] = {}
  failures: dict[str, str] = {}

  with concurrent.futures.ThreadPoolExecutor(_JOBS.value) as pool:
    try:
      while waiting or running:
        unfinished = {*waiting, *(run.name for run in running.values())}
        ready = [run for run in waiting.values() if run.needs not in unfinished]
        for run in ready[: _JOBS.value - len(running)]:
          future = pool.submit(player.play, waiting.pop(run.name))
          running[future] = run

        done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
          run = running.pop(future)
          try:
            future.result()
          except GatoError as e:
            bar.write(str(e), file=sys.stderr)
            failures[run.name] = str(e)

            # All are determined before any is removed: the chain of needs goes through them.
            dependants = [
              name for name, other in waiting.items() if _needs(other, run.name, waiting)
            ]
            for name in dependants:
              del waiting[name]
    except KeyboardInterrupt:
      player.stop()
      raise

  return list(failures.values())


def _needs(run: studies.StudyRun, name: str, runs: Mapping[str, studies.StudyRun]) -> bool:
  """Returns True when a run needs the one of that name, directly or through others."""
  return run.needs == name or (run.needs in runs and _needs(runs[run.needs], name, runs))


def refuse_missing_checkpoints(runs: list[studies.StudyRun]) -> None:
  """Refuses runs that start from, or play, a workdir outside the study without a checkpoint.

  Raises:
    GatoError: There is such a run.
  """
  for run in runs:
    needed = run.starts_from or run.plays
    if not studies.is_workdir(needed):
      continue
    folder = pathlib.Path(needed)
    if not (export.is_exported(folder) or checkpoint.saved_steps(folder / "checkpoints")):
      raise GatoError(
        f"run {run.name} needs a checkpoint in {needed}; "
        "train it first: python -m experiments.train"
      )


def main(experiment: cli.Experiment) -> None:
  if not experiment.runs:
    raise GatoError(
      f"{experiment.config.name} has no section `study`; "
      "experiments/configs/studies/forgetting.py has one"
    )
  if experiment.run:
    raise GatoError(
      f"a study runs all its runs; --only={experiment.run.name} instead of --run runs one"
    )

  home = experiment.workdir
  runs = chosen(experiment.runs, _ONLY.value)
  hashes = {run.name: settings_hash(cli.Experiment(experiment.config, run.name)) for run in runs}
  finished = Progress(home, hashes)
  missing = {run.name: [verb for verb in run.verbs if not finished.has(run, verb)] for run in runs}

  if _LIST.value:
    for run in runs:
      line = f"{run.name}: {' '.join(missing[run.name]) or 'finished'}"
      if run.changes:
        line += "    " + ", ".join(f"{name}={value}" for name, value in run.changes.items())
      print(line)
    return

  refuse_missing_checkpoints(runs)

  # SIGTERM, which schedulers send, ends like Ctrl-C.
  signal.signal(signal.SIGTERM, signal.default_int_handler)
  total = sum(map(len, missing.values()))
  with (
    lock.only_writer(home, "study"),
    progress.Bar(total=total, desc="study", unit="verb") as bar,
  ):
    player = Player(home, finished, bar=bar, single=_JOBS.value > 1)
    failures = run_all(runs, player, bar=bar)

  if failures:
    raise GatoError(
      f"{len(failures)} runs failed, the first: {failures[0]}; the same command goes on"
    )
  print(
    f"study: {len(runs)} runs are finished in {home}; "
    "python -m experiments.report --config=... shows them"
  )


if __name__ == "__main__":
  cli.run(main)
