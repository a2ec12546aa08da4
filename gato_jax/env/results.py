"""One row per episode, in JSON lines: what collection and evaluation both leave behind."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, TypeVar, overload

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.storage import disk, files, paths

# Names of actors in rows.
POLICY = "gato"
RANDOM = "random"
EXPERT = "expert"

_ROUNDING = 1e-6  # relative to the expert return
_LONGEST_LINE = 1 << 16  # bytes
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Row:
  """One played episode.

  Attributes:
    task: "domain.task".
    actor: EXPERT, RANDOM, or the name of the checkpoint, e.g. POLICY.
    seed: The environment's seed; with the task, the actor and the step it identifies the episode.
    episode_return: Undiscounted sum of rewards.
    length: Environment steps.
    success: None where the task defines no success.
    seconds: Wall-clock seconds, waiting for actions included; a share of the batch's time where one
      process plays several environments side by side.
    step: Training step of the checkpoint that acted, 0 for other actors.
    info: The environment's episode_info() without "success".
    repeat_rate: Share of action tokens that repeat the step before (gato_jax/env/repeats.py); None
      in rows of older versions and for episodes of one step.
    longest_repeat: Steps of the longest run of equal actions; None in rows of older versions.
  """

  task: str
  actor: str
  seed: int
  episode_return: float
  length: int
  success: bool | None
  seconds: float
  step: int = 0
  info: dict[str, Any] = dataclasses.field(default_factory=dict)
  repeat_rate: float | None = None
  longest_repeat: int | None = None

  @property
  def domain(self) -> str:
    return self.task.split(".", 1)[0]


@dataclasses.dataclass(frozen=True)
class Failure:
  """An episode that its simulator did not finish: a line of failures.jsonl.

  Attributes:
    task: "domain.task".
    actor: As in Row.
    step: As in Row.
    seed: As in Row; None where no episode ran, e.g. since the environment could not be made.
    reason: One line for the user.
    log: File with what the simulator wrote.
  """

  task: str
  actor: str
  step: int
  seed: int | None
  reason: str
  log: str


def append(path: pathlib.Path, rows: Iterable[Any]) -> None:
  """Appends dataclasses, a line each, so that a killed run keeps every finished episode.

  An object of a bucket is read and written again, so that only one process may append to it.

  Raises:
    OSError: The disk is full or read-only. None of the rows is in the file then, not even a part of
      one.
  """
  lines = "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows).encode()
  if paths.is_remote(path):
    before = path.read_bytes() if path.exists() else b""
    files.write(path, before + lines)
    return

  path.parent.mkdir(parents=True, exist_ok=True)
  with disk.writing(path), path.open("a+b", buffering=0) as file:
    _repair_last_line(file)
    size = file.seek(0, os.SEEK_END)
    try:
      # Unbuffered: a full disk takes a part of the lines, and only raises at the next write.
      while lines:
        written = file.write(lines)
        lines = lines[written:]
    except OSError:
      file.truncate(size)
      raise


def _repair_last_line(file: BinaryIO) -> None:
  """Cuts off a last line that a kill tore; a complete one gets its newline.

  Otherwise the next row would be glued to it.
  """
  size = file.seek(0, os.SEEK_END)
  file.seek(max(0, size - _LONGEST_LINE))
  last = file.read().rpartition(b"\n")[2]
  if not last:
    return

  try:
    json.loads(last)
  except ValueError:
    file.truncate(size - len(last))
  else:
    file.write(b"\n")


@overload
def read(path: pathlib.Path) -> Iterator[Row]: ...


@overload
def read(path: pathlib.Path, kind: type[_T]) -> Iterator[_T]: ...


def read(path: pathlib.Path, kind: type = Row) -> Iterator[Any]:
  """Yields the dataclasses that `append` wrote; none if there is no file.

  A last line that a kill tore while it was written is left out.

  Args:
    path: File of JSON lines.
    kind: Dataclass of the lines.

  Raises:
    GatoError: Any other line is not JSON or has other fields.
  """
  if not path.exists():
    return

  lines = path.read_text().split("\n")
  for number, line in enumerate(lines, 1):
    if not line:
      continue
    try:
      yield kind(**json.loads(line))
    except (json.JSONDecodeError, TypeError) as e:
      # No newline follows the last element of split(): only a torn line is there.
      if number == len(lines):
        return
      raise GatoError(
        f"{path}:{number}: not a line of {kind.__name__} ({e}); delete the line and run again"
      ) from e


def expert_return(returns: Sequence[float]) -> float:
  """Returns the expert return of episodes in collection order (Reed et al. 2022, section 3.1).

  It is max over j of mean(R_j .. R_{j+W-1}) with W = min(1000, N / 10).
  """
  values = np.asarray(returns, np.float64)
  if not len(values):
    raise GatoError("no expert episodes: there is no expert return; run experiments.collect")

  window = max(1, min(1000, len(values) // 10))
  sums = np.convolve(values, np.ones(window), mode="valid")
  return float(sums.max() / window)


def reaches(returns: np.ndarray, expert_return: float, keep: float) -> np.ndarray:
  """Returns which returns are at least a share of the expert return, bool [n].

  Args:
    returns: Float [n].
    expert_return: As of `expert_return`.
    keep: The share; 0 takes all of them.
  """
  if not keep:
    return np.ones(len(returns), bool)

  # Equals keep * expert_return where that is positive. Where it is negative, a share of it would
  # lie above it.
  bound = expert_return - (1 - keep) * abs(expert_return)

  # Returns are stored as float32 and the expert return is a mean of them, so equal ones may differ
  # by rounding.
  tolerance = _ROUNDING * abs(expert_return)
  return np.asarray(returns) >= bound - tolerance
