"""Runs all runs of a study, and what they need: python -m experiments.study --config=experiments/configs/NAME.py

For every run its verbs, one after the other, each in a process of its own whose output is in <run>/<verb>.log. What is
finished is not done again, so the same command goes on after an interruption or an error; a run whose settings have
changed is done again. Then: python -m experiments.report --config=... with the same config.

On a cluster: the same command by `python -m launch submit --verb=study`, or run by run with
--verb=train --flag=--run=NAME. --list shows the runs and what is missing.
"""

import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import tqdm
from absl import flags

from experiments import cli
from gato_jax import checkpoint, files, lock, specs, studies
from gato_jax.errors import GatoError

_JOBS = flags.DEFINE_integer("jobs", 1, "Runs at a time, each on its share of the cores.", lower_bound=1)
_ONLY = flags.DEFINE_list("only", [], "Of these runs, and what they need; all by default.")
_LIST = flags.DEFINE_bool("list", False, "Shows the runs, what they change and what is missing, and runs nothing.")


class Progress:
  """What is finished, in <study>/finished.json: "run verb" -> hash of the run's settings."""

  def __init__(self, home: pathlib.Path, hashes: dict[str, str]):
    self.path = home / "finished.json"
    self._hashes = hashes
    self._finished = json.loads(self.path.read_text()) if self.path.exists() else {}
    self._lock = threading.Lock()

  def has(self, run: studies.Run, verb: str) -> bool:
    return self._finished.get(f"{run.name} {verb}") == self._hashes[run.name]

  def add(self, run: studies.Run, verb: str) -> None:
    with self._lock:
      self._finished[f"{run.name} {verb}"] = self._hashes[run.name]
      files.write_json(self.path, self._finished)


def settings_hash(experiment: cli.Experiment) -> str:
  """Of everything that decides what a run does; not of where it does it, nor of the other runs."""
  settings = json.loads(experiment.config.to_json())
  for name in ("study", "workdir", "data_dir"):
    settings.pop(name, None)
  return checkpoint.digest([settings, experiment.run.plays])


def chosen(runs: list[studies.Run], names: list[str]) -> list[studies.Run]:
  """The runs of these names and those that they need, in the study's order; all where no name is given."""
  wanted = set()
  by_name = {run.name: run for run in runs}
  for name in names:
    while name:
      specs.check_name(name, by_name, "run of the study")
      wanted.add(name)
      name = by_name[name].needs
  return [run for run in runs if not names or run.name in wanted]


class Player:
  """Runs verbs in processes of their own.

  Args:
    single: each on one core: two such runs finish before two that wait for each other's threads.
  """

  def __init__(self, home: pathlib.Path, progress: Progress, bar: tqdm.tqdm, single: bool):
    self._home, self._progress, self._bar = home, progress, bar
    self._more: dict[str, list[str]] = {"evaluate": []}
    self._environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(home / "compiled")}
    if single:
      self._environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + os.environ.get("XLA_FLAGS", "")
      self._more["evaluate"].append("--config.evaluate.workers=1")
    self._running: set[subprocess.Popen] = set()
    self._stopped = False

  def play(self, run: studies.Run) -> None:
    """The run's missing verbs; GatoError where one fails."""
    self._bar.set_postfix_str(run.name)
    folder = self._home / run.name
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [a for a in sys.argv[1:] if a.startswith("--config")]
    for verb in run.verbs:
      if self._progress.has(run, verb):
        continue
      log = folder / f"{verb}.log"
      more = [f"--run={run.name}", *self._more.get(verb, [])]
      if verb == "evaluate" and not run.plays:  # its own training's curve; of another's checkpoints the newest
        more.append("--steps=kept")
      status = self._call([sys.executable, "-m", f"experiments.{verb}", *arguments, *more], log)
      if status:
        lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["it says nothing"]
        errors = [line for line in lines if line.startswith("error:")] or lines
        raise GatoError(f"{run.name}: {verb} ended with status {status}: {errors[-1]}; its output is in {log}")
      self._progress.add(run, verb)
      self._bar.update()

  def _call(self, command: list[str], log: pathlib.Path) -> int:
    if self._stopped:
      raise GatoError("interrupted")
    with log.open("w") as file:
      process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=self._environment)
      self._running.add(process)
      status = process.wait()
    self._running.discard(process)
    return status

  def stop(self) -> None:
    """Ends what runs, as Ctrl-C would: training saves."""
    self._stopped = True
    for process in list(self._running):
      process.terminate()


def run_all(runs: list[studies.Run], player: Player, bar: tqdm.tqdm) -> list[str]:
  """Plays the runs, --jobs at a time, none before what it needs; returns what went wrong."""
  waiting, running, failures = {run.name: run for run in runs}, {}, {}
  with concurrent.futures.ThreadPoolExecutor(_JOBS.value) as pool:
    try:
      while waiting or running:
        busy = {*waiting, *(run.name for run in running.values())}
        ready = [run for run in waiting.values() if run.needs not in busy]
        for run in ready[: _JOBS.value - len(running)]:
          running[pool.submit(player.play, waiting.pop(run.name))] = run
        done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
          run = running.pop(future)
          try:
            future.result()
          except GatoError as e:
            bar.write(str(e), file=sys.stderr)
            failures[run.name] = str(e)
            for name in [name for name, other in waiting.items() if _needs(other, run.name, waiting)]:
              del waiting[name]
    except KeyboardInterrupt:
      player.stop()
      raise
  return list(failures.values())


def _needs(run: studies.Run, name: str, runs: dict[str, studies.Run]) -> bool:
  """Whether a run needs the one of that name, directly or by others."""
  return run.needs == name or (run.needs in runs and _needs(runs[run.needs], name, runs))


def main(experiment: cli.Experiment) -> None:
  if not experiment.runs:
    raise GatoError(f"{experiment.config.name} has no section `study`; experiments/configs/forgetting.py has one")
  if experiment.run:
    raise GatoError(f"a study runs all its runs; --only={experiment.run.name} instead of --run runs one")
  home, runs = experiment.workdir, chosen(experiment.runs, _ONLY.value)
  hashes = {run.name: settings_hash(cli.Experiment(experiment.config, run.name)) for run in runs}
  progress = Progress(home, hashes)
  missing = {run.name: [verb for verb in run.verbs if not progress.has(run, verb)] for run in runs}
  if _LIST.value:
    for run in runs:
      changes = ", ".join(f"{name}={value}" for name, value in run.changes.items())
      print(f"{run.name}: {' '.join(missing[run.name]) or 'finished'}" + (f"    {changes}" if changes else ""))
    return
  for run in runs:
    before = run.starts_from or run.plays
    if studies.is_workdir(before) and not checkpoint.saved_steps(pathlib.Path(before) / "checkpoints"):
      raise GatoError(f"run {run.name} needs a checkpoint in {before}; train it first: python -m experiments.train")
  signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C
  with (
    lock.only_writer(home, "study"),
    tqdm.tqdm(total=sum(map(len, missing.values())), desc="study", unit="verb", dynamic_ncols=True) as bar,
  ):
    player = Player(home, progress, bar, single=_JOBS.value > 1)
    failures = run_all(runs, player, bar)
  if failures:
    raise GatoError(f"{len(failures)} runs failed, the first: {failures[0]}; the same command goes on")
  print(f"study: {len(runs)} runs are finished in {home}; python -m experiments.report --config=... shows them")


if __name__ == "__main__":
  cli.run(main)
