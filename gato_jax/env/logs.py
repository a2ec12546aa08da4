"""Raw episode logs: EnvLogger's Riegeli files in shards that appear whole or not at all.

  <raw>/<domain>/<task>/
    spec.json             the task's spec, from the live environment
    origin.json           what the episodes follow from (gato_jax/storage/origin.py)
    failures.jsonl        attempts at episodes that a simulator did not finish
    shard-00000/          some episodes: EnvLogger's runs, and rows.jsonl
    shard-00001.partial/  not complete, left by a kill: builders do not read it

An episode depends on its seed and its shard's number only, so what a kill lost is collected again
exactly.
"""

import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dm_env
import numpy as np

from gato_jax.env import results
from gato_jax.errors import GatoError, MissingData
from gato_jax.storage import files, origin
from gato_jax.task import TaskSpec, flatten

_WRITING = "writing"  # directory of the run that is being written
_METADATA = "metadata.riegeli"  # EnvLogger's, one for all runs of a directory


def _envlogger() -> Any:
  """Returns the package envlogger with what we use of it, imported when logs are first needed.

  Raises:
    GatoError: It is not installed.
  """
  # envlogger 1.2's codec uses this NumPy 1 alias. Version 1.3 does not, but needs a newer glibc
  # than Debian 12 has.
  np.unicode_ = np.str_  # type: ignore[attr-defined]  # NumPy 2 has no such name: that is the point
  try:
    import envlogger
    import envlogger.backends.riegeli_backend_writer
    import envlogger.reader
  except ImportError as e:
    raise GatoError(
      f"raw logs of episodes need envlogger, which cannot be imported here ({e}); run pip install "
      '"gato_jax[collect]" (Python 3.11, or 3.12 and 3.13 with glibc 2.38)'
    ) from e
  return envlogger


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
    for path in sorted(shard.rglob("*.riegeli")):
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
  # EnvLogger names its runs by the time at which they began.
  runs = sorted(path.parent for path in partial.glob("*/rows.jsonl"))
  return _rows_of(runs)


def _rows_of(directories: Sequence[pathlib.Path]) -> list[results.Row]:
  return [row for directory in directories for row in results.read(directory / "rows.jsonl")]


class ShardWriter:
  """Context in which a shard is written; it gets its final name when no error ends the context.

  A complete shard is opened again: it takes more episodes. Without any episode no shard appears.

  A run of EnvLogger is kept, whole or not at all, once it is PART_SECONDS old: a kill loses no more
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
  ):
    """Opens the shard.

    Args:
      directory: The task's logs.
      index: The shard's number.
      environment: Where the episodes are played; None if there are none, and the shard is only to
        be completed.
      expert_action: Returns the expert's own action in the step just taken; None if that is the
        executed one.
    """
    self._index = index
    self._final = directory / f"shard-{index:05d}"
    self._partial = self._final.with_suffix(".partial")
    if self._final.exists():
      self._final.rename(self._partial)
    self._partial.mkdir(parents=True, exist_ok=True)

    self._environment = environment
    self._expert_action = expert_action
    self._backend: Any = None
    self._logger: Any = None
    self._new: list[results.Row] = []

    self._delete_interrupted_runs()
    self.rows = partial_rows(directory, index)

  @property
  def environment(self) -> dm_env.Environment:
    """The environment with a logger around it; has to be read anew before each episode."""
    if self._logger is None:
      self._began = time.monotonic()
      self._logger = _envlogger().EnvLogger(
        self._environment,
        backend=self._open_backend,
        data_directory=str(self._partial / _WRITING),
        step_fn=self._step_metadata if self._expert_action else None,
      )
    return self._logger

  def _step_metadata(
    self, timestep: dm_env.TimeStep, action: Any, environment: Any
  ) -> dict[str, np.ndarray]:
    """Returns what EnvLogger keeps beside a step."""
    del action, environment
    assert self._environment is not None and self._expert_action is not None

    # No action led to the first step, but the codec wants the same structure in all of them.
    if timestep.first():
      return {"expert_action": np.zeros_like(self._environment.action_spec().generate_value())}
    return {"expert_action": self._expert_action()}

  def _open_backend(self, **settings: Any) -> Any:
    (self._partial / _WRITING).mkdir()
    backends = _envlogger().backends
    self._backend = backends.riegeli_backend_writer.RiegeliBackendWriter(**settings)
    return self._backend

  def append(self, row: results.Row) -> int:
    """Takes the row of a played episode; returns how many episodes became safe on the disk."""
    self._new.append(row)
    age = time.monotonic() - self._began
    return self._keep_run() if age > self.PART_SECONDS else 0

  def _keep_run(self) -> int:
    """Closes the open run and moves it to the kept ones; returns its number of episodes."""
    # The logger's own close() would close the environment, too.
    self._backend.close()
    self._logger = None

    writing = self._partial / _WRITING
    (run,) = (path for path in writing.iterdir() if path.is_dir())

    # A kill before run.rename() leaves all of it in `writing`, which the next writer deletes. After
    # it, the run is complete.
    results.append(run / "rows.jsonl", self._new)
    (writing / _METADATA).replace(self._partial / _METADATA)
    run.rename(self._partial / run.name)
    writing.rmdir()

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

    # In the order in which EnvLogger reads its runs, which read_shard() pairs with the rows.
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
    elif self._logger is not None:
      self._backend.close()


def read_shard(shard: pathlib.Path) -> Iterator[tuple[results.Row, dict[str, np.ndarray]]]:
  """Yields the row and the columns of each episode of a shard.

  The columns have T+1 steps: flat observation keys under "observation/", actions, reward and
  discount.

  Step t holds what was observed, the `action` that was executed there and the `expert_action` that
  the expert would have taken, which are the same where nothing was changed. This is RLDS's
  alignment; EnvLogger logs an action with the timestep it led to. The last step's actions are zero
  and mean nothing.

  Raises:
    GatoError: The shard's logs are truncated or corrupt.
  """
  expected_rows = _rows_of([shard])
  hint = (
    f"{shard}: half-written or corrupt log; delete the folder and run experiments.collect again"
  )

  try:
    with _envlogger().reader.Reader(data_directory=str(shard)) as log:
      if len(log.episodes) != len(expected_rows):
        raise GatoError(f"{hint} ({len(log.episodes)} episodes, {len(expected_rows)} rows)")

      for row, episode in zip(expected_rows, log.episodes, strict=True):
        steps = list(episode)
        if len(steps) != row.length + 1:
          raise GatoError(
            f"{hint} (seed {row.seed}: {len(steps)} steps, {row.length + 1} expected)"
          )
        yield row, _columns(steps)

  # Riegeli's reader raises any of these on a torn file.
  except (RuntimeError, IndexError, TypeError, ValueError) as e:
    raise GatoError(f"{hint} ({e})") from e


def _columns(steps: list[Any]) -> dict[str, np.ndarray]:
  """Returns EnvLogger's steps of one episode as columns with RLDS's alignment."""
  observations = [flatten(step.timestep.observation) for step in steps]
  columns = {}
  for key in observations[0]:
    columns[f"observation/{key}"] = np.stack([o[key] for o in observations])

  # EnvLogger: step t holds the action, the reward and the discount that led to observation t. RLDS:
  # step t holds those that follow it. So each is taken from the step after, and the last step is
  # padded.
  following = steps[1:]
  executed = [np.asarray(step.action) for step in following]
  expert = executed
  if following[0].custom_data:
    expert = [np.asarray(step.custom_data["expert_action"]) for step in following]

  for name, actions in (("action", executed), ("expert_action", expert)):
    columns[name] = np.stack([*actions, np.zeros_like(actions[-1])])

  rewards = [float(step.timestep.reward) for step in following]
  discounts = [float(step.timestep.discount) for step in following]
  columns["reward"] = np.array([*rewards, 0.0], np.float32)
  columns["discount"] = np.array([*discounts, 0.0], np.float32)
  return columns
