"""Steps, hours and chip-hours of a job so far, from the metrics of its training."""

import dataclasses
import pathlib

from experiments.analysis import run_metrics
from gato_jax.errors import GatoError
from gato_jax.storage import paths
from launch import jobs, tpus


@dataclasses.dataclass(frozen=True)
class Spent:
  """Progress and use of machines of a training.

  Attributes:
    step: Training steps so far; None where no metrics can be read.
    hours: Hours of training, over all its starts.
    chips: Chips that it holds; None on machines without.
  """

  step: int | None = None
  hours: float | None = None
  chips: int | None = None

  @property
  def chip_hours(self) -> float | None:
    if self.hours is None or self.chips is None:
      return None
    return self.hours * self.chips

  def cells(self) -> tuple[str, str]:
    """Returns step and chip-hours for a table; "-" for what is not known."""
    step = "-" if self.step is None else f"{self.step:,}"
    chip_hours = "-" if self.chip_hours is None else f"{self.chip_hours:,.1f}"
    return step, chip_hours


def workdir(record: jobs.Record) -> pathlib.Path:
  """Returns the workdir of a job that was submitted."""
  return jobs.workdir_of(record.job, record.settings.get("bucket", ""))


def chips(record: jobs.Record) -> int | None:
  """Returns the chips that a job holds: of its slices, or the GPUs of its processes."""
  settings = record.settings
  if settings.get("topology"):
    return tpus.tpu(settings["topology"]).chips * settings.get("slices", 1)
  if settings.get("gpus_per_task"):
    return settings["nodes"] * settings["tasks_per_node"] * settings["gpus_per_task"]
  return None


def of_record(record: jobs.Record) -> Spent:
  """Returns what a job has used; what cannot be read is None."""
  if record.job.verb != "train":
    return Spent(chips=chips(record))

  try:
    path = workdir(record) / "metrics.jsonl"
    with paths.reachable(str(path)):
      rows = run_metrics.read(path)
  except GatoError:
    # A bucket that only the job's own account may read.
    rows = []

  if not rows:
    return Spent(chips=chips(record))
  seconds = rows[-1].get("run_seconds")
  hours = None if seconds is None else seconds / 3600
  return Spent(int(rows[-1]["step"]), hours=hours, chips=chips(record))
