"""Runs of a sweep: their jobs, their progress, and the table that shows it."""

import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Literal

import rich.table

from experiments.analysis import run_metrics
from experiments.analysis.scaling import batches, points, runs
from gato_jax.errors import GatoError
from launch import cost, jobs
from launch.jobs import JobState

# State of a run that was not submitted yet.
WAITING = "missing"
# Submissions that fail one after the other before the sweep gives up.
_REFUSED_IN_A_ROW = 3

_OPEN = (WAITING, JobState.QUEUED, JobState.RUNNING)

_STYLES: dict[str, str] = {
  JobState.DONE: "green",
  JobState.RUNNING: "cyan",
  JobState.FAILED: "red",
  JobState.CANCELLED: "red",
  JobState.UNKNOWN: "red",
}


@dataclasses.dataclass
class SweepRow:
  """A run of the sweep and its progress.

  Attributes:
    run: The run of the sweep.
    job: The job that trains or plays it.
    workdir: Folder of the run.
    steps: Training steps of the whole run.
    work: Tokens x parameters, for estimates of time.
    state: WAITING, or a JobState.
    point: Result of the training, once it has ended.
    done: True when the run has what the job is there for.
    after: Name of the run that this one branches from, and waits for; "" for none.
    handle: The backend's handle of the job; "" before it was submitted.
    step: Training steps so far.
    loss: Loss of the validation split, or of training before the run has ended.
    seconds_per_step: Speed of training.
    seconds: Time of training so far.
  """

  run: runs.SweepRun
  job: jobs.Job
  workdir: pathlib.Path
  steps: int
  work: float
  state: str = WAITING
  point: points.ScalingPoint | None = None
  done: bool = False
  after: str = ""
  handle: str = ""
  step: int = 0
  loss: float | None = None
  seconds_per_step: float | None = None
  seconds: float = 0.0

  @property
  def name(self) -> str:
    """Name of the run."""
    return self.run.name

  @property
  def over(self) -> bool:
    """True when the run neither waits nor is at work."""
    return self.state not in _OPEN

  @property
  def left(self) -> float | None:
    """Seconds until a run that trains has ended."""
    if self.seconds_per_step is None:
      return None

    return (self.steps - self.step) * self.seconds_per_step


class Sweep:
  """All runs of a sweep that are planned so far, on one backend."""

  def __init__(
    self,
    rows: Sequence[SweepRow],
    backend: jobs.Backend,
    width: int,
    out: pathlib.Path,
    content: batches.BatchContent,
    finished: Callable[[SweepRow], bool] = lambda row: row.point is not None,
    until: float | None = None,
  ):
    """Finds the jobs of an earlier sweep that are not over.

    Args:
      rows: The runs.
      backend: Where they run.
      width: Jobs at a time; 0: any number.
      out: File of the points.
      content: Of the batches that the runs train on.
      finished: True of a run that has what its job is there for; by default, that is trained. Only
        called when the job does not run.
      until: Chip-hours after which no run is submitted; None for no limit. A machine without
        accelerators counts as one chip.
    """
    self.rows = rows
    self._backend = backend
    self._width = width
    self._out = out
    self._content = content
    self._finished = finished
    self._until = until
    self._written: list[points.ScalingPoint] | None = None
    self._refused_in_a_row = 0

    # Jobs of an earlier sweep are taken over; those that are over are submitted again.
    handles = {}
    for record in jobs.records():
      if record.backend == backend.name:
        handles[record.job.name] = record.handle
    for row in rows:
      handle = handles.get(row.job.name, "")
      if handle and not backend.state(handle).over:
        row.handle = handle
        row.state = JobState.RUNNING

    self.look()

  def look(self) -> None:
    """Updates all rows from the backend and the runs' folders, and writes the points."""
    for row in self.rows:
      if row.done:
        continue

      # The backend is asked before the folder: a job that ends in between would otherwise be done
      # without a result, which is a failure.
      if row.handle:
        row.state = self._backend.state(row.handle)
      if not row.handle or row.state == JobState.DONE:
        row.point = points.of_run(row.workdir, row.run, self._content)
        row.done = self._finished(row)

      if row.point is not None:
        row.step = row.steps
        row.loss = row.point.loss
        row.seconds = row.point.seconds

      if row.done:
        row.state = JobState.DONE
      elif row.state == JobState.DONE:
        # It ended well and left nothing.
        row.state = JobState.FAILED
      elif row.state == JobState.RUNNING and row.point is None:
        _update_progress(row)

    current = [row.point for row in self.rows if row.point is not None]
    if current != self._written:
      points.write(self._out, current)
      self._written = current

  def spent_hours(self) -> float:
    """Returns the chip-hours of all runs so far."""
    chips = {record.job.name: cost.chips(record) or 1 for record in jobs.records()}
    return sum(row.seconds * chips.get(row.job.name, 1) / 3600 for row in self.rows)

  @property
  def exhausted(self) -> bool:
    """True when runs wait for which no chip-hours are left."""
    if self._until is None or all(row.state != WAITING for row in self.rows):
      return False
    return self.spent_hours() >= self._until

  def submit(self) -> None:
    """Submits as many runs as there is room for."""
    if self.exhausted:
      return

    active = sum(row.state in (JobState.QUEUED, JobState.RUNNING) for row in self.rows)
    for row in self.rows:
      if row.state == WAITING and (not self._width or active < self._width):
        if row.after and any(other.name == row.after and not other.over for other in self.rows):
          continue
        try:
          row.handle = jobs.submit(self._backend, row.job).handle
        except GatoError as e:
          self._failed_to_submit(row, e)
          continue
        row.state = JobState.QUEUED
        self._refused_in_a_row = 0
        active += 1

  def _failed_to_submit(self, row: SweepRow, error: GatoError) -> None:
    """Leaves a run that was refused for the next sweep, and goes on with the others.

    Raises:
      GatoError: Too many were refused one after the other: it is not that one run.
    """
    row.state = JobState.FAILED
    self._refused_in_a_row += 1
    if self._refused_in_a_row >= _REFUSED_IN_A_ROW:
      raise error
    print(f"{row.job.name}: {error}", file=sys.stderr)

  @property
  def over(self) -> bool:
    """True when no run waits or is at work."""
    if self.exhausted:
      return all(row.over or row.state == WAITING for row in self.rows)
    return all(row.over for row in self.rows)

  def seconds_left(self) -> float | None:
    """Returns the seconds until all runs have ended; None before anything has trained.

    Runs are assumed to go at the mean speed of those that have trained, side by side.
    """
    if any(row.job.verb != "train" for row in self.rows):
      return None

    # Speeds in work a second: first the finished runs, then those that train.
    speeds = []
    for row in self.rows:
      if row.point is not None and row.point.seconds:
        speeds.append(row.work / row.point.seconds)
    for row in self.rows:
      if row.point is None and row.left and row.seconds_per_step:
        speeds.append(row.work / row.steps / row.seconds_per_step)
    if not speeds:
      return None

    mean_speed = sum(speeds) / len(speeds)
    open_rows = [row for row in self.rows if not row.over]
    seconds = 0.0
    for row in open_rows:
      seconds += row.left or row.work * (1 - row.step / row.steps) / mean_speed

    side_by_side = min(self._width or len(open_rows), len(open_rows))
    return seconds / max(1, side_by_side)


def table(sweep: Sweep) -> rich.table.Table:
  """Returns the table that is shown while a sweep runs."""
  counts = {state: sum(row.state == state for row in sweep.rows) for state in (WAITING, *JobState)}
  title = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
  seconds_left = sweep.seconds_left()
  if seconds_left and not sweep.over:
    title += f"; about {_duration(seconds_left)} left"

  result = rich.table.Table(
    title=title, title_justify="left", box=None, header_style="bold", padding=(0, 1, 0, 0)
  )
  for name in ("run", "tokens", "state", "step", "loss", "score", "left"):
    justify: Literal["left", "right"] = "left" if name in ("run", "state") else "right"
    result.add_column(name, justify=justify, no_wrap=True)

  for row in sweep.rows:
    result.add_row(*_cells(row), style=_STYLES.get(row.state, ""))

  result.caption = "loss: held out; in brackets: of training, so far"
  result.caption_justify = "left"
  return result


def _cells(row: SweepRow) -> list[str]:
  loss = ""
  if row.loss is not None:
    loss = f"{row.loss:.4f}" if row.point else f"({row.loss:.3f})"

  score = ""
  if row.point is not None and row.point.score is not None:
    score = f"{row.point.score:.1f}"

  left = ""
  if row.state == JobState.RUNNING and row.left:
    left = _duration(row.left)

  return [
    row.run.name,
    f"{row.run.tokens:,}",
    str(row.state),
    f"{row.step}/{row.steps}",
    loss,
    score,
    left,
  ]


def _update_progress(row: SweepRow) -> None:
  logged = run_metrics.read(row.workdir / "metrics.jsonl")
  if not logged:
    return

  newest = logged[-1]
  row.step = int(newest["step"])
  row.loss = newest["loss"]
  row.seconds_per_step = newest["step_seconds"]
  row.seconds = sum(entry["interval_seconds"] for entry in logged)


def _duration(seconds: float) -> str:
  all_minutes, rest = divmod(round(seconds), 60)
  hours, minutes = divmod(all_minutes, 60)
  if hours:
    return f"{hours}:{minutes:02}:{rest:02}"

  return f"{minutes}:{rest:02}"
