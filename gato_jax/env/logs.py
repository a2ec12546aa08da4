"""Raw episode logs: runs of files (log_files.py) in shards that appear whole or not at all.

  <raw>/<domain>/<task>/
    spec.json             the task's spec, from the live environment
    origin.json           what the episodes follow from (gato_jax/storage/origin.py)
    failures.jsonl        attempts at episodes that a simulator did not finish
    shard-00000/          some episodes: runs, and rows.jsonl
    shard-00001.partial/  not complete, left by a kill: builders do not read it

An episode depends on its seed and its shard's number only, so what a kill lost is collected again
exactly.
"""

import hashlib
import itertools
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dm_env
import numpy as np

from gato_jax.env import log_files, results
from gato_jax.errors import GatoError, MissingData
from gato_jax.storage import files, origin
from gato_jax.task import TaskSpec

_WRITING = "writing"  # directory of the run that is being written


def task_directory(raw: pathlib.Path, domain: str, task: str) -> pathlib.Path:
  return pathlib.Path(raw) / domain / task


def write_spec(directory: pathlib.Path, spec: TaskSpec) -> None:
  files.write_json(directory / "spec.json", spec.to_json())


def write_origin(
  directory: pathlib.Path, spec: TaskSpec, now: origin.Origin, accept: bool = False
) -> None:
  """Writes spec.json and origin.json, unless they say the same already.

  Args:
    directory: The task's logs.
    spec: The spec of the live environment.
    now: The origin of episodes that are played now.
    accept: True to let episodes of another origin stay, which then count as of this one.

  Raises:
    origin.OriginChanged: The episodes in `directory` are of another origin, or of an unknown one.
  """
  before = origin.read(directory)

  # A shard that is not complete yet holds episodes, too.
  has_episodes = any(directory.glob("shard-*"))
  if has_episodes and not accept:
    if before is None:
      raise origin.OriginChanged(
        f"{directory} holds episodes of an older version, which did not note what they follow from"
      )
    if changed := origin.difference(before, now, origin.EPISODES):
      raise origin.OriginChanged(f"{directory}: {changed}")

  # Parts that only the file has are kept.
  if before is not None:
    now = {**before, **now}
  if before != now:
    write_spec(directory, spec)
    origin.write(directory, now)


def move_aside(directory: pathlib.Path, name: str = "") -> pathlib.Path:
  """Renames a directory to the first free <name>.old-<n> beside it; returns the new path.

  Args:
    directory: What is renamed.
    name: By default the directory's own.
  """
  number = 1
  while (aside := directory.with_name(f"{name or directory.name}.old-{number}")).exists():
    number += 1
  return directory.rename(aside)


def shard_episodes(directory: pathlib.Path, default: int) -> int:
  """Returns the episodes a shard of the logs in `directory`; `default` if there are none."""
  known = origin.read(directory) or {}
  return known.get("shard_episodes", default)


def content_hash(directory: pathlib.Path) -> str:
  """Returns a hash of a task's complete shards, rows and sizes of logs; "" if there are none."""
  complete = shards(directory)
  if not complete:
    return ""

  digest = hashlib.sha256()
  for shard in complete:
    digest.update(shard.name.encode())
    digest.update((shard / "rows.jsonl").read_bytes())
    # Sizes instead of contents, since the logs of a task may have gigabytes.
    for path in sorted(filter(log_files.is_log, shard.rglob("*"))):
      digest.update(f"{path.relative_to(shard)} {path.stat().st_size}".encode())

  return digest.hexdigest()[:16]


def read_spec(directory: pathlib.Path) -> TaskSpec:
  path = directory / "spec.json"
  if not path.exists():
    task = f"{directory.parent.name}.{directory.name}"
    raise MissingData(
      f"no raw logs of {task} in {directory}; run python -m experiments.collect, "
      "or set GATO_RAW_DIR"
    )
  return TaskSpec.from_json(json.loads(path.read_text()))


def shards(directory: pathlib.Path) -> list[pathlib.Path]:
  """Returns the complete shards in collection order."""
  return sorted(path for path in directory.glob("shard-*") if path.suffix != ".partial")


def rows(directory: pathlib.Path) -> list[results.Row]:
  """Returns a row for each episode of a task's complete shards, in collection order."""
  return _rows_of(shards(directory))


def shard_rows(directory: pathlib.Path, index: int) -> tuple[bool, list[results.Row]]:
  """Returns True if a shard is complete, and the rows of its episodes that are kept."""
  final = directory / f"shard-{index:05d}"
  if final.exists():
    return True, _rows_of([final])
  return False, partial_rows(directory, index)


def partial_rows(directory: pathlib.Path, index: int) -> list[results.Row]:
  """Returns the rows of the kept episodes of a shard that is not complete, in the order of play."""
  partial = directory / f"shard-{index:05d}.partial"
  # Runs are named by the time at which they began.
  runs = sorted(path.parent for path in partial.glob("*/rows.jsonl"))
  return _rows_of(runs)


def _rows_of(directories: Sequence[pathlib.Path]) -> list[results.Row]:
  return [row for directory in directories for row in results.read(directory / "rows.jsonl")]


class ShardWriter:
  """Context in which a shard is written; it gets its final name when no error ends the context.

  A complete shard is opened again: it takes more episodes. Without any episode no shard appears.

  A run is kept, whole or not at all, once it is PART_SECONDS old: a kill loses no more
  than that of finished episodes. The next writer of the same shard goes on after what was kept.

  Attributes:
    rows: Rows of the episodes that are kept, those of earlier writers included.
  """

  PART_SECONDS = 2.0

  def __init__(
    self,
    directory: pathlib.Path,
    index: int,
    environment: dm_env.Environment | None = None,
    expert_action: Callable[[], Any] | None = None,
    file_format: str | None = None,
  ):
    """Opens the shard.

    Args:
      directory: The task's logs.
      index: The shard's number.
      environment: Where the episodes are played; None if there are none, and the shard is only to
        be completed.
      expert_action: Returns the expert's own action in the step just taken; None if that is the
        executed one.
      file_format: One of log_files; by default that of the shard's earlier runs, or what this
        machine can write.
    """
    self._index = index
    self._final = directory / f"shard-{index:05d}"
    self._partial = self._final.with_suffix(".partial")
    if self._final.exists():
      self._final.rename(self._partial)
    self._partial.mkdir(parents=True, exist_ok=True)

    self._environment = environment
    self._expert_action = expert_action
    self._run: log_files.LogRun | None = None
    self._new: list[results.Row] = []

    self._delete_interrupted_runs()
    self._format = log_files.format_of(self._partial) or file_format or log_files.default_format()
    self.rows = partial_rows(directory, index)

  @property
  def environment(self) -> Any:
    """The environment with a logger around it; has to be read anew before each episode."""
    if self._run is None:
      self._began = time.monotonic()
      self._run = log_files.open_run(
        self._partial / _WRITING, self._format, self._environment, self._expert_action
      )
    return self._run.environment

  def append(self, row: results.Row) -> int:
    """Takes the row of a played episode; returns how many episodes became safe on the disk."""
    self._new.append(row)
    age = time.monotonic() - self._began
    return self._keep_run() if age > self.PART_SECONDS else 0

  def _keep_run(self) -> int:
    """Closes the open run and moves it to the kept ones; returns its number of episodes."""
    assert self._run is not None
    run = self._run.close()
    self._run = None

    # A kill before the run is moved leaves all of it in `writing`, which the next writer deletes.
    # After it, the run is complete.
    results.append(run / "rows.jsonl", self._new)
    log_files.keep(run, self._partial)
    (self._partial / _WRITING).rmdir()

    kept = len(self._new)
    self.rows += self._new
    self._new = []
    return kept

  def _delete_interrupted_runs(self) -> None:
    """Deletes what a kill left of a run.

    An older version left such runs beside the kept ones, without rows.
    """
    for path in self._partial.iterdir():
      if path.is_dir() and not (path / "rows.jsonl").exists():
        shutil.rmtree(path)

  def finish(self) -> int:
    """Keeps the open run and names the shard; returns how many episodes became safe."""
    kept = self._keep_run() if self._new else 0

    # In the order in which runs are read, which read_shard() pairs with the rows.
    self.rows = partial_rows(self._final.parent, self._index)
    if self.rows:
      # A shard that was opened again still has the rows of before.
      (self._partial / "rows.jsonl").unlink(missing_ok=True)
      results.append(self._partial / "rows.jsonl", self.rows)
      self._partial.rename(self._final)

    return kept

  def __enter__(self) -> "ShardWriter":
    return self

  def __exit__(self, error_type: Any, error: Any, trace: Any) -> None:
    if error_type is None and self._partial.exists():
      self.finish()
    elif self._run is not None:
      self._run.close()


def read_shard(shard: pathlib.Path) -> Iterator[tuple[results.Row, dict[str, np.ndarray]]]:
  """Yields the row and the columns of each episode of a shard.

  The columns have T+1 steps (log_files.read). Step t holds what was observed, the `action` that was
  executed there and the `expert_action` that the expert would have taken, which are the same where
  nothing was changed. The last step's actions are zero and mean nothing.

  Raises:
    GatoError: The shard's logs are truncated or corrupt.
  """
  expected_rows = _rows_of([shard])
  hint = (
    f"{shard}: half-written or corrupt log; delete the folder and run experiments.collect again"
  )

  try:
    for row, columns in itertools.zip_longest(expected_rows, log_files.read(shard)):
      if row is None or columns is None:
        count = len(expected_rows)
        raise GatoError(f"{hint} ({'more' if row is None else 'fewer'} episodes than {count} rows)")

      steps = len(columns["reward"])
      if steps != row.length + 1:
        raise GatoError(f"{hint} (seed {row.seed}: {steps} steps, {row.length + 1} expected)")
      yield row, columns

  # The readers raise any of these on a torn file.
  except (RuntimeError, IndexError, TypeError, ValueError) as e:
    raise GatoError(f"{hint} ({e})") from e
