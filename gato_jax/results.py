"""One row per episode, in JSON lines: what collection and evaluation both leave behind."""

import dataclasses
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from gato_jax import disk
from gato_jax.errors import GatoError

_ROUNDING = 1e-6  # of the expert return
_LONGEST_LINE = 1 << 16  # bytes
_T = TypeVar("_T")


@dataclasses.dataclass(frozen=True)
class Row:
  """One played episode.

  Attributes:
    task: "domain.task".
    actor: "expert", "random" or the checkpoint's name, e.g. "gato".
    seed: the environment's seed; with the task and the actor it identifies the episode.
    episode_return: undiscounted sum of rewards.
    length: environment steps.
    success: None where the task defines no success.
    seconds: wall-clock seconds, waiting for actions included; a share of the batch's time where one process plays
      several environments side by side.
    step: training step of the checkpoint that acted, 0 for others.
    info: what the environment's episode_info() said beside "success".
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

  @property
  def domain(self) -> str:
    return self.task.split(".", 1)[0]


def append(path: pathlib.Path, rows: Iterable[Any]) -> None:
  """Appends dataclasses, a line each, so that a killed run keeps every finished episode.

  Raises:
    OSError: the disk is full or read-only. None of the rows is in the file then, not even a part of one.
  """
  path.parent.mkdir(parents=True, exist_ok=True)
  lines = "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows).encode()
  with disk.writing(path), path.open("a+b", buffering=0) as f:
    _end_line(f)
    size = f.seek(0, os.SEEK_END)
    try:
      # Unbuffered: a full disk takes a part of it and says so at the next write.
      while lines:
        lines = lines[f.write(lines) :]
    except OSError:
      f.truncate(size)
      raise


def _end_line(file: Any) -> None:
  """A last line that a kill tore is cut off: the next row would be glued to it. A whole one gets its newline."""
  size = file.seek(0, os.SEEK_END)
  file.seek(max(0, size - _LONGEST_LINE))
  last = file.read().rpartition(b"\n")[2]
  if last:
    try:
      json.loads(last)
    except ValueError:
      file.truncate(size - len(last))
    else:
      file.write(b"\n")


def read(path: pathlib.Path, kind: type[_T] = Row) -> Iterator[_T]:
  """What `append` wrote; a torn last line (a kill while writing) is dropped, any other bad line is an error."""
  if not path.exists():
    return
  lines = path.read_text().split("\n")
  for number, line in enumerate(lines, 1):
    if not line:
      continue
    try:
      yield kind(**json.loads(line))
    except (json.JSONDecodeError, TypeError) as e:
      if number == len(lines):  # no newline after it: torn by a kill
        return
      raise GatoError(f"{path}:{number}: not a line of {kind.__name__} ({e}); delete the line and run again") from e


def expert_return(returns: Sequence[float]) -> float:
  """max_j mean(R_j .. R_{j+W-1}), W = min(1000, 0.1 N), over episodes in collection order (GATO_SPEC section 4)."""
  returns = np.asarray(returns, np.float64)
  if not len(returns):
    raise GatoError("no expert episodes: there is no expert return; run experiments.collect")
  window = max(1, min(1000, len(returns) // 10))
  sums = np.convolve(returns, np.ones(window), mode="valid")
  return float(sums.max() / window)


def reaches(returns: np.ndarray, expert_return: float, keep: float) -> np.ndarray:
  """Returns which returns are at least this share of the expert return, bool [n]; all of them where `keep` is 0.

  Returns are stored as float32 and the expert return is a mean of them, so equal ones may differ by rounding.
  """
  if not keep:
    return np.ones(len(returns), bool)
  bound = expert_return - (1 - keep) * abs(expert_return)
  return np.asarray(returns) >= bound - _ROUNDING * abs(expert_return)
