"""Raw episode logs: EnvLogger's Riegeli files in shards that appear whole or not at all.

  <raw>/<domain>/<task>/spec.json          the task's spec, from the live environment
  <raw>/<domain>/<task>/origin.json        what the episodes follow from (gato_jax/origin.py)
  <raw>/<domain>/<task>/failures.jsonl     attempts at episodes that a simulator did not finish
  <raw>/<domain>/<task>/shard-00000/       some episodes: runs of EnvLogger, and rows.jsonl
  <raw>/<domain>/<task>/shard-00001.partial/   some of its episodes, left by a kill: not read before it is complete

An episode depends on its seed and its shard's number only, so what a kill took is collected again exactly.
"""

import hashlib
import json
import pathlib
import shutil
import time
from collections.abc import Callable, Iterator
from typing import Any

import dm_env
import numpy as np

# envlogger 1.2's codec names this NumPy 1 alias; 1.3 does not, but needs a newer glibc than Debian 12 has.
np.unicode_ = np.str_
import envlogger  # noqa: E402
from envlogger import reader as envlogger_reader  # noqa: E402
from envlogger.backends import riegeli_backend_writer  # noqa: E402

from gato_jax import files, origin, results, specs  # noqa: E402
from gato_jax.errors import GatoError, MissingData  # noqa: E402

_WRITING, _METADATA = "writing", "metadata.riegeli"


def task_directory(raw: pathlib.Path, domain: str, task: str) -> pathlib.Path:
  return pathlib.Path(raw) / domain / task


def write_spec(directory: pathlib.Path, spec: specs.TaskSpec) -> None:
  files.write_json(directory / "spec.json", spec.to_json())


def write_origin(directory: pathlib.Path, spec: specs.TaskSpec, now: origin.Origin, accept: bool = False) -> None:
  """Writes spec.json and origin.json, unless they say the same already.

  Args:
    now: the origin of episodes that are played now.
    accept: what is there stays, and counts as of this origin.

  Raises:
    origin.Changed: the episodes in `directory` are of another origin, or none is known of them.
  """
  before = origin.read(directory)
  if any(directory.glob("shard-*")) and not accept:  # one that is not complete yet holds episodes too
    if before is None:
      raise origin.Changed(f"{directory} holds episodes of an older version, which did not note what they follow from")
    if changed := origin.difference(before, now, origin.EPISODES):
      raise origin.Changed(f"{directory}: {changed}")

  if before is not None:
    now = {**before, **now}
  if before != now:
    write_spec(directory, spec)
    origin.write(directory, now)


def move_aside(directory: pathlib.Path, name: str = "") -> pathlib.Path:
  """Renames a directory to the first free <name>.old-<n> beside it, by default with its own name; returns that."""
  number = 1
  while (aside := directory.with_name(f"{name or directory.name}.old-{number}")).exists():
    number += 1
  return directory.rename(aside)


def shard_episodes(directory: pathlib.Path, wanted: int) -> int:
  """Returns how many episodes a shard of these logs has: as the first ones have, or `wanted` where there are none."""
  return (origin.read(directory) or {}).get("shard_episodes", wanted)


def content_hash(directory: pathlib.Path) -> str:
  """Hash of a task's complete shards: their rows and the sizes of their logs; "" where there are none."""
  found = shards(directory)
  digest = hashlib.sha256()
  for shard in found:
    digest.update(shard.name.encode())
    digest.update((shard / "rows.jsonl").read_bytes())
    for path in sorted(shard.rglob("*.riegeli")):
      digest.update(f"{path.relative_to(shard)} {path.stat().st_size}".encode())
  return digest.hexdigest()[:16] if found else ""


def read_spec(directory: pathlib.Path) -> specs.TaskSpec:
  path = directory / "spec.json"
  if not path.exists():
    task = f"{directory.parent.name}.{directory.name}"
    raise MissingData(f"no raw logs of {task} in {directory}; run python -m experiments.collect, or set GATO_RAW_DIR")
  return specs.TaskSpec.from_json(json.loads(path.read_text()))


def shards(directory: pathlib.Path) -> list[pathlib.Path]:
  """Complete shards in collection order."""
  return sorted(p for p in directory.glob("shard-*") if p.suffix != ".partial")


def rows(directory: pathlib.Path) -> list[results.Row]:
  """One row an episode of a task's complete shards, in collection order."""
  return [row for shard in shards(directory) for row in results.read(shard / "rows.jsonl")]


def shard_rows(directory: pathlib.Path, index: int) -> tuple[bool, list[results.Row]]:
  """Returns whether a shard is complete, and the rows of the episodes that are kept of it."""
  final = directory / f"shard-{index:05d}"
  if final.exists():
    return True, list(results.read(final / "rows.jsonl"))
  return False, partial_rows(directory, index)


class ShardWriter:
  """Context of one shard, whose folder gets its final name when the context ends well, with any episode at all.

  A shard that is complete is opened again: it takes more episodes.

  A run of EnvLogger is kept, whole or not at all, when it is PART_SECONDS old: no more than that of finished episodes
  is lost to a kill. The next writer of the same shard goes on behind what was kept.

  Attributes:
    rows: of the episodes that are kept, those of earlier writers included.
  """

  PART_SECONDS = 2.0

  def __init__(
    self,
    directory: pathlib.Path,
    index: int,
    environment: dm_env.Environment | None = None,
    expert_action: Callable[[], Any] | None = None,
  ):
    """expert_action: what the expert would have done in the step just taken; None where it is what was done."""
    self._index = index
    self._final = directory / f"shard-{index:05d}"
    self._partial = self._final.with_suffix(".partial")
    if self._final.exists():
      self._final.rename(self._partial)
    self._partial.mkdir(parents=True, exist_ok=True)
    self._environment = environment
    self._expert_action = expert_action
    self._backend: Any = None
    self._logger: envlogger.EnvLogger | None = None
    self._new: list[results.Row] = []
    self._discard()
    self.rows = partial_rows(directory, index)

  @property
  def environment(self) -> dm_env.Environment:
    """Logs what is played in it; to be asked for before each episode."""
    if self._logger is None:
      self._began = time.monotonic()
      self._logger = envlogger.EnvLogger(
        self._environment,
        backend=self._open,
        data_directory=str(self._partial / _WRITING),
        step_fn=self._custom_data if self._expert_action else None,
      )
    return self._logger

  def _custom_data(self, timestep: dm_env.TimeStep, action: Any, environment: Any) -> dict[str, np.ndarray]:
    """EnvLogger's step metadata."""
    del action, environment
    if timestep.first():  # the codec wants the same structure in every step
      return {"expert_action": np.zeros_like(self._environment.action_spec().generate_value())}
    return {"expert_action": self._expert_action()}

  def _open(self, **settings: Any) -> Any:
    (self._partial / _WRITING).mkdir()
    self._backend = riegeli_backend_writer.RiegeliBackendWriter(**settings)
    return self._backend

  def append(self, row: results.Row) -> int:
    """An episode was played; returns how many are kept now that were not before."""
    self._new.append(row)
    return self._keep() if time.monotonic() - self._began > self.PART_SECONDS else 0

  def _keep(self) -> int:
    self._backend.close()  # the logger's own close() would close the environment too
    self._logger = None
    (run,) = (path for path in (self._partial / _WRITING).iterdir() if path.is_dir())
    results.append(run / "rows.jsonl", self._new)
    (self._partial / _WRITING / _METADATA).replace(self._partial / _METADATA)
    run.rename(self._partial / run.name)
    (self._partial / _WRITING).rmdir()
    kept = len(self._new)
    self.rows += self._new
    self._new = []
    return kept

  def _discard(self) -> None:
    """What is left of an interrupted run; an older version left them without rows."""
    for path in self._partial.iterdir():
      if path.is_dir() and not (path / "rows.jsonl").exists():
        shutil.rmtree(path)

  def finish(self) -> int:
    """Keeps what is open and gives the shard its name; returns how many episodes are kept that were not before."""
    kept = self._keep() if self._new else 0
    self.rows = partial_rows(self._final.parent, self._index)  # in the order in which EnvLogger reads its runs
    if self.rows:
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


def partial_rows(directory: pathlib.Path, index: int) -> list[results.Row]:
  """Rows of the episodes that are kept of a shard that is not complete, in the order in which they were played."""
  runs = sorted((directory / f"shard-{index:05d}.partial").glob("*/rows.jsonl"))
  return [row for run in runs for row in results.read(run)]


def read_shard(shard: pathlib.Path) -> Iterator[tuple[results.Row, dict[str, np.ndarray]]]:
  """Episodes as columns of T+1 steps: flat observation keys under "observation/", actions, reward, discount.

  Step t holds what was observed, the `action` that was executed there and the `expert_action` that the expert would
  have taken, which are the same where nothing was changed (RLDS's alignment; EnvLogger logs an action with the
  timestep it led to). The last step's actions are zero and mean nothing.

  Raises:
    GatoError: the shard's logs are truncated or corrupt.
  """
  shard_rows = list(results.read(shard / "rows.jsonl"))
  hint = f"{shard}: half-written or corrupt log; delete the folder and run experiments.collect again"
  try:
    with envlogger_reader.Reader(data_directory=str(shard)) as log:
      if len(log.episodes) != len(shard_rows):
        raise GatoError(f"{hint} ({len(log.episodes)} episodes, {len(shard_rows)} rows)")
      for row, episode in zip(shard_rows, log.episodes, strict=True):
        steps = list(episode)
        if len(steps) != row.length + 1:
          raise GatoError(f"{hint} (seed {row.seed}: {len(steps)} steps, {row.length + 1} expected)")
        yield row, _columns(steps)
  except (RuntimeError, IndexError, TypeError, ValueError) as e:  # what Riegeli's reader raises on a torn file
    raise GatoError(f"{hint} ({e})") from e


def _columns(steps: list[Any]) -> dict[str, np.ndarray]:
  observations = [specs.flatten(s.timestep.observation) for s in steps]
  columns = {f"observation/{key}": np.stack([o[key] for o in observations]) for key in observations[0]}
  executed = [np.asarray(s.action) for s in steps[1:]]
  meant = [np.asarray(s.custom_data["expert_action"]) for s in steps[1:]] if steps[1].custom_data else executed
  for name, actions in (("action", executed), ("expert_action", meant)):
    columns[name] = np.stack([*actions, np.zeros_like(actions[-1])])
  # RLDS: reward and discount of step t are what its action led to.
  columns["reward"] = np.array([float(s.timestep.reward) for s in steps[1:]] + [0.0], np.float32)
  columns["discount"] = np.array([float(s.timestep.discount) for s in steps[1:]] + [0.0], np.float32)
  return columns
