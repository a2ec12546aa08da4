"""Trains the missing runs of a sweep: python -m launch sweep --on=BACKEND --config=experiments/configs/scaling.py

One job a run (gato_jax/scaling/grid.py says which), the cheapest first, each in <workdir>/<run>. A run is finished once
its folder has a held-out loss; the rest are submitted, --jobs at a time, and go on from their checkpoints. Interrupted
or killed, the command leaves its jobs running; given again it finds them, submits what is missing, and also tries again
what failed before. <workdir>/points.jsonl has the finished ones, for python -m experiments.report --scaling.

With --verb=evaluate it plays the trained ones instead, --config.evaluate.episodes a task, for the report's scores.

The folders must be readable here: a cluster's workdir lies on a shared file system, and for gke and tpu_vm the bucket
is mounted here where they see it, at /mnt/gato. Slices are checked once, with the largest network that is missing.
"""

import collections
import dataclasses
import datetime
import pathlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import rich.console
import rich.live
import rich.table
from absl import flags

from experiments import cli
from gato_jax import results
from gato_jax.errors import GatoError
from gato_jax.report import metrics
from gato_jax.scaling import grid, points
from launch import jobs, settings, submit
from launch.backends import gke
from launch.jobs import State

_JOBS = flags.DEFINE_integer("jobs", None, "Jobs at a time; 0: all. Local: 1 by default, elsewhere 0.")
_POLL = flags.DEFINE_float("poll", 2.0, "Seconds between two looks at the jobs.")
flags.adopt_module_key_flags(submit)  # --on, --dry_run, --preflight, --flag and the backends' settings

_STYLES = {State.DONE: "green", State.RUNNING: "cyan"} | dict.fromkeys(
  (State.FAILED, State.CANCELLED, State.UNKNOWN), "red"
)
_WAITING = "missing"  # not submitted yet


@dataclasses.dataclass
class Row:
  """A run of the sweep as it stands. state: _WAITING or a State, of its job."""

  run: grid.Run
  job: jobs.Job
  workdir: pathlib.Path
  steps: int
  work: float  # tokens x parameters, for estimates of time
  state: str = _WAITING
  point: points.Point | None = None
  done: bool = False
  handle: str = ""
  step: int = 0
  loss: float | None = None
  seconds_per_step: float | None = None

  @property
  def left(self) -> float | None:
    """Seconds, of a run that trains."""
    return None if self.seconds_per_step is None else (self.steps - self.step) * self.seconds_per_step


class Sweep:
  """All runs of a grid on one backend.

  Args:
    width: jobs at a time, 0: any number. out: file of the points.
    finished: whether a run whose job is not at work has what the jobs are there for; trained, by default.
  """

  def __init__(
    self,
    rows: Sequence[Row],
    backend: jobs.Backend,
    width: int,
    out: pathlib.Path,
    finished: Callable[[Row], bool] = lambda row: row.point is not None,
  ):
    self.rows, self._backend, self._width, self._out, self._finished = rows, backend, width, out, finished
    self._written: list[points.Point] | None = None
    before = {record.job.name: record.handle for record in jobs.records() if record.backend == backend.name}
    for row in rows:
      handle = before.get(row.job.name, "")
      if handle and not backend.state(handle).over:
        row.handle, row.state = handle, State.RUNNING  # an earlier sweep's; what has ended is submitted again
    self.look()

  def look(self) -> None:
    """Asks the backend and the runs' folders how things are; writes the points."""
    for row in self.rows:
      if row.done:
        continue
      if row.handle:
        row.state = self._backend.state(row.handle)  # asked before the folder: who ends in between is not called failed
      if not row.handle or row.state == State.DONE:
        row.point = points.of_run(row.workdir, row.steps)
        row.done = self._finished(row)
      if row.point is not None:
        row.step, row.loss = row.steps, row.point.loss
      if row.done:
        row.state = State.DONE
      elif row.state == State.DONE:
        row.state = State.FAILED  # it ended well and left nothing
      elif row.state == State.RUNNING and row.point is None:
        _progress(row)
    found = [row.point for row in self.rows if row.point is not None]
    if found != self._written:
      points.write(self._out, found)
      self._written = found

  def submit(self) -> None:
    """As many as there is room for."""
    for row in self.rows:
      active = sum(r.state in (State.QUEUED, State.RUNNING) for r in self.rows)
      if row.state == _WAITING and (not self._width or active < self._width):
        row.handle = jobs.submit(self._backend, row.job).handle
        row.state = State.QUEUED

  @property
  def over(self) -> bool:
    return not any(row.state in (_WAITING, State.QUEUED, State.RUNNING) for row in self.rows)

  def seconds_left(self) -> float | None:
    """At the mean speed of what has trained, runs side by side; None before anything has."""
    if any(row.job.verb != "train" for row in self.rows):
      return None
    speeds = [row.work / row.point.seconds for row in self.rows if row.point is not None and row.point.seconds]
    speeds += [row.work / row.steps / row.seconds_per_step for row in self.rows if row.point is None and row.left]
    if not speeds:
      return None
    open_ = [row for row in self.rows if row.state in (_WAITING, State.QUEUED, State.RUNNING)]
    seconds = sum(row.left or row.work * (1 - row.step / row.steps) / (sum(speeds) / len(speeds)) for row in open_)
    return seconds / max(1, min(self._width or len(open_), len(open_)))


def main(experiment: cli.Experiment) -> None:
  if "scaling" not in experiment.config:
    raise GatoError(
      f"{experiment.config.name} has no section `scaling`; experiments/configs/scaling.py has one, and a study goes"
      " through python -m launch submit --verb=study"
    )
  asked = flags.FLAGS
  if asked.on is None:
    raise GatoError(f"--on=BACKEND ({', '.join(settings.BACKENDS)}) is missing")
  if asked.name is not None or asked.verb not in ("train", "evaluate"):
    raise GatoError("a sweep names its runs itself, so --name is no flag of it; --verb is train or evaluate")
  backend, rows = settings.backend(asked.on), list(plan(experiment, sys.argv, asked.flag, asked.verb))
  if hasattr(backend, "bucket") and not experiment.workdir.is_relative_to(gke.MOUNT):
    raise GatoError(
      f"--on={backend.name} writes to its bucket: mount that at {gke.MOUNT} here too and give"
      f" --config.workdir={gke.MOUNT}/work/{experiment.config.name}"
    )
  width = _JOBS.value if _JOBS.value is not None else int(backend.name == "local")
  if width < 0 or _POLL.value <= 0:
    raise GatoError(f"--jobs={width} --poll={_POLL.value}: at least 0, and above 0")
  if asked.dry_run:
    show_plan(rows, backend)
    return
  out = experiment.workdir / "points.jsonl"
  if asked.verb == "train":
    sweep = Sweep(rows, backend, width, out)
  else:
    sweep = Sweep(rows, backend, width, out, lambda row: _is_played(row, experiment))
    check_trained(rows)
  missing = [row for row in rows if row.state == _WAITING]
  if asked.preflight and asked.verb == "train" and missing:
    submit.preflight(backend, max(missing, key=lambda row: row.run.width).job)
  console = rich.console.Console()
  with rich.live.Live(table(sweep), console=console, auto_refresh=False) as live:
    said = [row.state for row in rows]
    while True:
      sweep.submit()
      for row, before in zip(rows, said, strict=True):
        if row.state != before:
          console.print(f"{datetime.datetime.now():%H:%M:%S} {row.job.name}: {before} -> {row.state}", highlight=False)
      said = [row.state for row in rows]
      live.update(table(sweep), refresh=True)
      if sweep.over:
        break
      time.sleep(_POLL.value)
      sweep.look()
  if not console.is_terminal:
    console.print()  # in a file rich leaves the last line open
  failed = [row.job.name for row in rows if row.state != State.DONE]
  if failed:
    raise GatoError(
      f"{len(failed)} of {len(rows)} runs did not finish: {', '.join(failed)}; see `python -m launch logs"
      f" --name={failed[0]}` and run the same command again"
    )
  print(f"{len(rows)} points: {experiment.workdir / 'points.jsonl'}")


def check_trained(rows: Sequence[Row]) -> None:
  """GatoError where a run that is to be played has no point."""
  untrained = [row.run.name for row in rows if row.point is None]
  if untrained:
    raise GatoError(
      f"{len(untrained)} of {len(rows)} runs are not trained, {untrained[0]} for one; sweep without --verb first"
    )


def _is_played(row: Row, experiment: cli.Experiment) -> bool:
  """Whether the run's last checkpoint has all episodes of all tasks."""
  played = collections.Counter(
    r.task for r in results.read(row.workdir / "results.jsonl") if r.actor == "gato" and r.step == row.steps
  )
  wanted = experiment.config.evaluate.episodes
  return all(played[f"{domain.name}.{task}"] >= wanted for domain, task in experiment.control_tasks)


def plan(
  experiment: cli.Experiment, argv: Sequence[str], more: Sequence[str] = (), verb: str = "train"
) -> Iterator[Row]:
  """The grid's runs, as rows that nothing was asked about yet; argv: of the command, for overrides. more: flags."""
  config = experiment.config
  paths = [a.removeprefix("--config=") for a in argv if a.startswith("--config=")]
  if not paths:
    raise GatoError("--config=experiments/configs/NAME.py is missing")
  given = [a for a in argv if a.startswith("--config.") and not a.startswith("--config.workdir=")]
  batch = config.train.batch_size * config.data.sequence_length
  for run in grid.runs(experiment.section(grid.GridConfig, "scaling")):
    workdir = experiment.workdir / run.name
    overrides = (*more, *given, *grid.overrides(run, batch), f"--config.workdir={workdir}")
    name = f"{config.name}-{run.name}".replace("_", "-") + ("" if verb == "train" else f"-{verb}")
    job = jobs.Job(name, paths[-1], overrides, verb)
    network = grid.network(run.width)
    work = run.tokens * float(network["layers"] * run.width**2 * 11 + 33_025 * run.width / 8)
    yield Row(run, job, workdir, run.steps(batch), work)


def table(sweep: Sweep) -> rich.table.Table:
  """What is shown while a sweep runs."""
  counts = {state: sum(row.state == state for row in sweep.rows) for state in (_WAITING, *State)}
  left = sweep.seconds_left()
  title = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
  title += f"; about {_duration(left)} left" if left and not sweep.over else ""
  shown = rich.table.Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 1, 0, 0))
  for name in ("run", "width", "tokens", "state", "step", "loss", "score", "left"):
    shown.add_column(name, justify="left" if name in ("run", "state") else "right", no_wrap=True)
  for row in sweep.rows:
    loss = "" if row.loss is None else f"{row.loss:.4f}" if row.point else f"({row.loss:.3f})"
    cells = row.run.name, str(row.run.width), f"{row.run.tokens:,}", str(row.state), f"{row.step}/{row.steps}", loss
    eta = _duration(row.left) if row.state == State.RUNNING and row.left else ""
    score = "" if row.point is None or row.point.score is None else f"{row.point.score:.1f}"
    shown.add_row(*cells, score, eta, style=_STYLES.get(row.state, ""))
  shown.caption = "loss: held out; in brackets: of training, so far"
  shown.caption_justify = "left"
  return shown


def show_plan(rows: Sequence[Row], backend: jobs.Backend) -> None:
  """What --dry_run prints."""
  missing = [row for row in rows if row.job.verb != "train" or points.of_run(row.workdir, row.steps) is None]
  print(f"{len(rows)} runs, {len(missing)} missing: {' '.join(row.run.name for row in missing)}")
  for title, text in backend.render(missing[0].job).items() if missing else ():
    print(f"--- {title}\n{text}", end="" if text.endswith("\n") else "\n")


def _progress(row: Row) -> None:
  logged = metrics.read(row.workdir / "metrics.jsonl")
  if logged:
    row.step, row.loss = logged[-1]["step"], logged[-1]["loss"]
    row.seconds_per_step = logged[-1]["step_seconds"]


def _duration(seconds: float) -> str:
  minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(minutes, 60)
  return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


if __name__ == "__main__":
  cli.run(main)
