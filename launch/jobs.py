"""Jobs: what to run, where it was sent, and the records of them under work/launch/, one file a job.

A record is written before anything is sent and again with the handle that the backend gave. Git ignores the folder:
records name clusters and buckets where the settings did; secrets are in no setting.
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

from gato_jax import files, provenance
from gato_jax.errors import GatoError

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "work" / "launch"
TERMINATED = 143  # exit status where SIGTERM came before training listened: nothing to save, start again as after 42
VERBS = ("build", "collect", "evaluate", "report", "study", "train")
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?")  # also Kubernetes' and Google's rule, with room for suffixes


class State(enum.StrEnum):
  """UNKNOWN: gone without a trace, or where it was sent does not answer."""

  QUEUED = "queued"
  RUNNING = "running"
  DONE = "done"
  FAILED = "failed"
  CANCELLED = "cancelled"
  UNKNOWN = "unknown"

  @property
  def over(self) -> bool:
    return self not in (State.QUEUED, State.RUNNING)


@dataclasses.dataclass(frozen=True)
class Job:
  """What to run; says nothing of where.

  Attributes:
    name: a-z, 0-9 and "-", unique among the records of a backend.
    config: experiments/configs/NAME.py, from the repository's root.
    overrides: "--config.train.steps=100", and flags of the verb. The workdir is work/<name> unless it is among them.
    verb: of experiments/.

  Raises:
    GatoError: a name, config, override or verb that cannot be.
  """

  name: str
  config: str
  overrides: tuple[str, ...] = ()
  verb: str = "train"

  def __post_init__(self):
    if not _NAME.fullmatch(self.name):
      raise GatoError(f"--name={self.name!r}: up to 40 of a-z, 0-9 and '-', a letter first, no '-' last")
    if self.verb not in VERBS:
      raise GatoError(f"--verb={self.verb!r} is none of {', '.join(VERBS)}")
    wrong = [override for override in self.overrides if not override.startswith("--")]
    if wrong:
      raise GatoError(f"override {wrong[0]!r}: it looks like --config.train.steps=100")

  def arguments(self, data_dir: str = "", workdir: str = "") -> list[str]:
    """Of `python`. data_dir, workdir: where the backend has them; overrides come later and count."""
    given = [f"--config.data_dir={data_dir}"] if data_dir else []
    given.append(f"--config.workdir={workdir or f'work/{self.name}'}")
    return ["-m", f"experiments.{self.verb}", f"--config={self.config}", *given, *self.overrides]


def setting(default: str | int | bool, text: str) -> Any:
  """A field of a backend; `text` is what --help says. Only str, int and bool."""
  return dataclasses.field(default=default, metadata={"help": text})


class Backend(Protocol):
  """Where to run: a frozen dataclass of launch/backends/, whose fields are its settings (launch/settings.py)."""

  name: ClassVar[str]

  def render(self, job: Job) -> dict[str, str]:
    """Everything that would be sent, exactly: title -> text."""

  def check(self, job: Job) -> None:
    """Raises GatoError where the place would refuse the job: no such zone, accelerator or queue, too little quota."""

  def submit(self, job: Job) -> str:
    """Sends it; the handle, kept in the record."""

  def state(self, handle: str) -> State: ...

  def logs(self, handle: str, lines: int) -> str: ...

  def cancel(self, handle: str) -> None: ...


@dataclasses.dataclass(frozen=True)
class Record:
  """One submitted job. settings: the backend's. submitted: UTC. revision: of git, "+" where files had changed."""

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


def cancelled(backend: str, name: str) -> pathlib.Path:
  """A file that is there where a job was cancelled: who deletes one that ran elsewhere leaves no trace of it."""
  return FOLDER / f"{backend}.{name}.cancelled"


def submit(backend: Backend, job: Job) -> Record:
  """Checks, sends and records a job; one of the same name that is over is replaced: a training run goes on.

  Raises:
    GatoError: the place refuses it, or one of that name is not over.
  """
  before = [record for record in records() if (record.backend, record.job.name) == (backend.name, job.name)]
  if before and before[0].handle and not (state := backend.state(before[0].handle)).over:
    raise GatoError(f"{job.name} is {state} on {backend.name}; cancel it first or choose another --name")
  backend.check(job)
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  record = Record(backend.name, dataclasses.asdict(backend), job, "", now, provenance.revision())
  record.write()
  record = dataclasses.replace(record, handle=backend.submit(job))
  record.write()
  return record


def records() -> list[Record]:
  """All that are kept, the oldest first."""
  return sorted(_read(), key=lambda record: (record.submitted, record.job.name))


def _read() -> Iterator[Record]:
  for path in FOLDER.glob("*.json"):
    try:
      found = json.loads(path.read_text())
      asked = found.pop("job")
      yield Record(**found, job=Job(**asked | {"overrides": tuple(asked["overrides"])}))
    except (ValueError, TypeError, KeyError) as e:
      raise GatoError(f"{path} is no record of a job ({e}); remove it") from e


def find(name: str, backend: str = "") -> Record:
  """The record of a job.

  Raises:
    GatoError: there is none, or several backends have one.
  """
  found = [r for r in records() if r.job.name == name and backend in ("", r.backend)]
  if not found:
    raise GatoError(f"no job {name!r}{' on ' + backend if backend else ''}; `python -m launch list` shows them")
  if len(found) > 1:
    raise GatoError(f"{name!r} is a job on {' and '.join(r.backend for r in found)}; say which with --on")
  return found[0]


def run(command: list[str], text: str | None = None) -> str:
  """What a command prints; `text` is its standard input. Every command of every backend goes through here.

  Raises:
    GatoError: it is not installed or fails; what it says of the error is the message.
  """
  try:
    done = subprocess.run(command, input=text, capture_output=True, text=True)
  except FileNotFoundError as e:
    raise GatoError(f"`{command[0]}` is not installed here; this backend needs it") from e
  if done.returncode:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["it says nothing"]
    said = [line for line in lines if re.search(r"\berror\b", line, re.IGNORECASE)] or lines[-1:]
    raise GatoError(f"`{' '.join(command[:4])} ...` failed ({done.returncode}): {said[0]}")
  return done.stdout
