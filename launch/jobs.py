"""Jobs and their records: one file a job under work/launch/.

A record is written before anything is sent, and again with the handle that the backend returned.
Git ignores the directory: records name clusters and buckets where the settings did; no setting
holds a secret.
"""

import dataclasses
import datetime
import enum
import json
import pathlib
import re
import subprocess
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from gato_jax.errors import GatoError
from gato_jax.storage import files, paths
from gato_jax.train import checkpoint, provenance

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "work" / "launch"

# Exit status of a process that SIGTERM ended before training listened to it: there was nothing to
# save, and the job starts again as after exit status 42 (PREEMPTED).
TERMINATED = 143

VERBS = ("build", "collect", "evaluate", "report", "study", "train")
# Verbs that read and write a bucket by its address; the others see it as a mounted directory.
_BUCKET_VERBS = ("evaluate", "train")

MOUNT = "/mnt/gato"  # where the machines and containers of a cloud see a mounted bucket
CACHE = "/cache"  # where containers keep what they have read of a bucket

# The rule of Kubernetes and of Google, too, with room for the suffixes that backends append.
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")


class JobState(enum.StrEnum):
  """State of a job; UNKNOWN: gone without a trace, or its backend does not answer."""

  QUEUED = "queued"
  RUNNING = "running"
  DONE = "done"
  FAILED = "failed"
  CANCELLED = "cancelled"
  UNKNOWN = "unknown"

  @property
  def over(self) -> bool:
    """True when the job neither waits nor runs."""
    return self not in (JobState.QUEUED, JobState.RUNNING)


@dataclasses.dataclass(frozen=True)
class Job:
  """A verb of experiments/ with its arguments; a backend decides where it runs.

  Attributes:
    name: Letters a-z, 0-9 and "-", unique among the records of a backend.
    config: Path of experiments/configs/NAME.py, from the repository's root.
    overrides: "--config.train.steps=100", and flags of the verb. The workdir is work/<name> unless
      it is among them.
    verb: Module of experiments/.

  Raises:
    GatoError: A name, config, override or verb that cannot be.
  """

  name: str
  config: str
  overrides: tuple[str, ...] = ()
  verb: str = "train"

  def __post_init__(self):
    if not _NAME.fullmatch(self.name):
      raise GatoError(
        f"--name={self.name!r}: up to 40 of a-z, 0-9 and '-', a letter first, no '-' last"
      )
    if self.verb not in VERBS:
      raise GatoError(f"--verb={self.verb!r} is none of {', '.join(VERBS)}")

    for override in self.overrides:
      if not override.startswith("--"):
        raise GatoError(f"override {override!r}: it looks like --config.train.steps=100")

  @property
  def needs_mount(self) -> bool:
    """True for a verb that sees a bucket as a mounted directory."""
    return self.verb not in _BUCKET_VERBS

  def bucket_arguments(self, bucket: str) -> list[str]:
    """Returns the arguments of `python` where data/ and work/ are in a bucket."""
    home = MOUNT if self.needs_mount else f"gs://{bucket}"
    return self.arguments(f"{home}/data", f"{home}/work/{self.name}")

  def arguments(self, data_dir: str = "", workdir: str = "") -> list[str]:
    """Returns the arguments of `python`.

    Args:
      data_dir: Data directory on the backend; "": the config's.
      workdir: Workdir on the backend; "": work/<name>.
    """
    directories = [f"--config.data_dir={data_dir}"] if data_dir else []
    directories.append(f"--config.workdir={workdir or f'work/{self.name}'}")

    # The last value of a setting counts, so the job's own overrides come last.
    module = f"experiments.{self.verb}"
    return ["-m", module, f"--config={self.config}", *directories, *self.overrides]


def setting(default: str | int | bool, text: str) -> Any:
  """Returns a field of a backend; `text` is shown by --help. Only str, int and bool."""
  return dataclasses.field(default=default, metadata={"help": text})


class Backend(Protocol):
  """Place where jobs run: a frozen dataclass of launch/backends/.

  Its fields are its settings (launch/settings.py).
  """

  name: ClassVar[str]
  __dataclass_fields__: ClassVar[dict[str, dataclasses.Field]]

  def render(self, job: Job) -> dict[str, str]:
    """Returns everything that would be sent, exactly: title -> text."""

  def check(self, job: Job) -> None:
    """Checks that the backend would accept the job.

    Raises:
      GatoError: No such zone, accelerator or queue, or too little quota.
    """

  def submit(self, job: Job) -> str:
    """Sends the job and returns its handle, which the record keeps."""

  def state(self, handle: str) -> JobState:
    """Returns the state of a submitted job."""

  def others(self, handle: str) -> dict[str, JobState]:
    """Returns the states of what else runs for a job, such as its evaluator: name -> state."""

  def logs(self, handle: str, lines: int) -> str:
    """Returns the last lines that the job printed."""

  def cancel(self, handle: str) -> None:
    """Ends the job."""


@dataclasses.dataclass(frozen=True)
class Record:
  """One submitted job.

  Attributes:
    backend: Name of the backend.
    settings: The backend's settings.
    job: The job.
    handle: The backend's name for the job; "" before it was sent.
    submitted: Time in UTC.
    revision: Revision of git, with "+" where files had changed.
  """

  backend: str
  settings: dict[str, Any]
  job: Job
  handle: str
  submitted: str
  revision: str

  @property
  def path(self) -> pathlib.Path:
    return record_path(self.backend, self.job.name)

  def write(self) -> None:
    files.write_json(self.path, dataclasses.asdict(self), indent=2)


def record_path(backend: str, name: str) -> pathlib.Path:
  return FOLDER / f"{backend}.{name}.json"


def workdir_of(job: Job, bucket: str = "") -> pathlib.Path:
  """Returns the workdir of a job, on this machine or in a bucket.

  Args:
    job: The job.
    bucket: The backend's, if it has one.
  """
  arguments = job.bucket_arguments(bucket) if bucket else job.arguments()
  given = [a for a in arguments if a.startswith("--config.workdir=")]
  # The last one counts.
  workdir = paths.path(given[-1].removeprefix("--config.workdir="))
  return workdir if paths.is_remote(workdir) else ROOT / workdir


def saved_steps(job: Job) -> list[int]:
  """Returns the steps of the checkpoints that a job would go on from, where they can be read."""
  try:
    directory = workdir_of(job) / "checkpoints"
    with paths.reachable(str(directory)):
      return checkpoint.saved_steps(directory)
  except GatoError:
    # A bucket that only the job's own account may read.
    return []


def cancelled(backend: str, name: str) -> pathlib.Path:
  """Returns the path of the file that marks a job as cancelled.

  A backend that deletes a job keeps no trace of it, and a job that vanished is not a cancelled one.
  """
  return FOLDER / f"{backend}.{name}.cancelled"


def submit(backend: Backend, job: Job) -> Record:
  """Checks, sends and records a job.

  A job of the same name that is over is replaced: a training run continues.

  Raises:
    GatoError: The backend refuses the job, or one of that name is not over.
  """
  for record in records():
    is_same = (record.backend, record.job.name) == (backend.name, job.name)
    if is_same and record.handle and not (state := backend.state(record.handle)).over:
      raise GatoError(
        f"{job.name} is {state} on {backend.name}; cancel it first or choose another --name"
      )

  backend.check(job)

  # The first record has no handle: it is what is left if submitting is interrupted.
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  settings = dataclasses.asdict(backend)
  record = Record(
    backend.name,
    settings,
    job=job,
    handle="",
    submitted=now,
    revision=provenance.revision(),
  )
  record.write()

  record = dataclasses.replace(record, handle=backend.submit(job))
  record.write()
  return record


def records() -> list[Record]:
  """Returns all records, the oldest first."""
  return sorted(_read(), key=lambda record: (record.submitted, record.job.name))


def _read() -> Iterator[Record]:
  for path in FOLDER.glob("*.json"):
    try:
      fields = json.loads(path.read_text())
      job = fields.pop("job")
      # JSON has lists and no tuples.
      job["overrides"] = tuple(job["overrides"])
      yield Record(**fields, job=Job(**job))
    except (ValueError, TypeError, KeyError) as e:
      raise GatoError(f"{path} is no record of a job ({e}); remove it") from e


def find(name: str, backend: str = "") -> Record:
  """Returns the record of a job.

  Raises:
    GatoError: There is none, or several backends have one.
  """
  matches = [r for r in records() if r.job.name == name and backend in ("", r.backend)]
  if not matches:
    on_backend = f" on {backend}" if backend else ""
    raise GatoError(f"no job {name!r}{on_backend}; `python -m launch list` shows them")

  if len(matches) > 1:
    backends = " and ".join(record.backend for record in matches)
    raise GatoError(f"{name!r} is a job on {backends}; say which with --on")

  return matches[0]


def run(command: list[str], text: str | None = None) -> str:
  """Returns the output of a command; `text` is its standard input.

  Every command of every backend goes through here.

  Raises:
    GatoError: The command is not installed or fails; its own line about the error is the message.
  """
  try:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
  except FileNotFoundError as e:
    raise GatoError(f"`{command[0]}` is not installed here; this backend needs it") from e

  if done.returncode:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    lines = lines or ["it says nothing"]

    # The first line that names an error is the cause; without one the last line is the nearest.
    errors = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)]
    message = (errors or lines[-1:])[0]
    raise GatoError(f"`{' '.join(command[:4])} ...` failed ({done.returncode}): {message}")

  return done.stdout
