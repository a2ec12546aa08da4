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
import subprocess
import sys
import threading

import tqdm
from absl import flags

from experiments import cli
from gato_jax import checkpoint, studies
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
      self.path.parent.mkdir(parents=True, exist_ok=True)
      temporary = self.path.with_suffix(".tmp")
      temporary.write_text(json.dumps(self._finished, indent=1) + "\n")
      os.replace(temporary, self.path)


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
      cli.specs.check_name(name, by_name, "run of the study")
      wanted.add(name)
      name = by_name[name].needs
  return [run for run in runs if not names or run.name in wanted]


def play(run: studies.Run, home: pathlib.Path, progress: Progress, bar: tqdm.tqdm, single: bool) -> None:
  """The run's missing verbs; GatoError where one fails."""
  folder = home / run.name
  folder.mkdir(parents=True, exist_ok=True)
  environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(home / "compiled")}
  arguments = [a for a in sys.argv[1:] if a.startswith("--config")]
  more = {"train": [], "evaluate": ["--steps=kept"]}
  if single:  # one core each: two single-threaded runs finish before two that wait for each other's threads
    environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false " + environment.get("XLA_FLAGS", "")
    more["evaluate"].append("--config.evaluate.workers=1")
  for verb in run.verbs:
    if progress.has(run, verb):
      continue
    log = folder / f"{verb}.log"
    command = [sys.executable, "-m", f"experiments.{verb}", *arguments, f"--run={run.name}", *more.get(verb, [])]
    with log.open("w") as file:
      status = subprocess.call(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
    if status:
      lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] or ["it says nothing"]
      errors = [line for line in lines if line.startswith("error:")] or lines
      raise GatoError(f"{run.name}: {verb} ended with status {status}: {errors[-1]}; its output is in {log}")
    progress.add(run, verb)
    bar.update()


def main(experiment: cli.Experiment) -> None:
  if not experiment.runs:
    raise GatoError(f"{experiment.config.name} has no section `study`; experiments/configs/held_outs.py has one")
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
  failures = []
  with (
    tqdm.tqdm(total=sum(map(len, missing.values())), desc="study", unit="verb", dynamic_ncols=True) as bar,
    concurrent.futures.ThreadPoolExecutor(_JOBS.value) as pool,
  ):
    running: dict[str, concurrent.futures.Future] = {}

    def one(run: studies.Run) -> None:
      if run.needs in running:  # earlier in the queue, so at work or done: no two wait for each other
        running[run.needs].result()
      bar.set_postfix_str(run.name)
      play(run, home, progress, bar, single=_JOBS.value > 1)

    for run in runs:
      running[run.name] = pool.submit(one, run)
    for name, future in running.items():
      try:
        future.result()
      except GatoError as e:
        if str(e) not in failures:  # those that need a failed run fail with its words
          failures.append(str(e))
          bar.write(f"{name}: {e}" if not str(e).startswith(name) else str(e), file=sys.stderr)
  if failures:
    raise GatoError(f"{len(failures)} runs failed, the first: {failures[0]}; the same command goes on")
  print(f"study: {len(runs)} runs are finished in {home}; python -m experiments.report --config=... shows them")


if __name__ == "__main__":
  cli.run(main)
