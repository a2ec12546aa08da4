"""Collecting in parallel: one worker process a core, an episode's time and memory limited, its failures counted."""

import collections
import contextlib
import dataclasses
import fcntl
import os
import pathlib
import random
import time
from collections.abc import Iterator, Sequence
from multiprocessing import connection as connections
from typing import Any

from gato_jax import logs, origin, results, specs, worker
from gato_jax.collect import process
from gato_jax.collect.config import CollectConfig, TaskSettings
from gato_jax.collect.shards import missing_shards
from gato_jax.errors import GatoError
from gato_jax.evaluate.jobs import EXPERT, Failure

_WATCH_SECONDS = 0.25  # between two looks at the workers' memory
_ENDING_SECONDS = 2.0  # for the last words of a process that is ended
_GB = 1e9


@dataclasses.dataclass
class _Shard:
  """What is left of a shard; index None: nothing is left of the task, only its origin is compared."""

  domain: specs.Domain
  task: str
  index: int | None
  seeds: list[int]

  @property
  def name(self) -> str:
    return f"{self.domain.name}.{self.task}"


@dataclasses.dataclass(frozen=True)
class Changed:
  """A task's episodes were of another origin: they were moved aside, and the task is collected anew.

  Attributes:
    what: says which part of the origin changed.
    aside: where the old episodes are now.
    episodes: how many are to be collected.
  """

  what: str
  aside: pathlib.Path
  episodes: int


class _Process(worker.Worker):
  """One worker: its shard, the episode that runs, and the time by which it must end."""

  def __init__(self, log: pathlib.Path, domain: str):
    super().__init__(process.__name__, log)
    self.domain = domain
    self.shard: _Shard | None = None
    self.seed: int | None = None  # None where all that is left is to complete the shard
    self.deadline = 0.0


class Collection:
  """What is missing of some tasks' expert episodes.

  Attributes:
    missing: task -> episodes that are missing. skipped: those that failed each time.
    given_up: task -> why the rest of it is left for the next run.
    began: task -> time.monotonic() of its first shard. log: what simulators wrote to stderr.
    is_complete: whether there was nothing to collect when it was made.

  Args:
    accept: episodes of another origin stay and count as of this one; otherwise they are moved aside.
    as_collected: tasks of which there are episodes go on with the pushes and mistakes of those, whatever `config` says.
  """

  def __init__(
    self,
    tasks: Sequence[tuple[specs.Domain, str]],
    raw: pathlib.Path,
    config: CollectConfig,
    accept: bool = False,
    as_collected: bool = False,
  ):
    self.missing: dict[str, int] = {}
    self.skipped: collections.Counter[str] = collections.Counter()
    self.given_up: dict[str, str] = {}
    self.began: dict[str, float] = {}
    self.log = raw / "collect.log"
    self._raw, self._config, self._accept, self._as_collected = raw, config, accept, as_collected
    self._queue: list[_Shard] = []
    for domain, task in tasks:
      self._queue += self._shards(domain, task) or [_Shard(domain, task, None, [])]
    self.is_complete = all(shard.index is None for shard in self._queue)
    random.Random(0).shuffle(self._queue)  # slow and fast tasks mixed: what is left can be told from what is done
    self._processes: list[_Process] = []
    self._attempts: collections.Counter[tuple[str, int]] = collections.Counter()
    self._looked = 0.0
    self._in_a_row: collections.Counter[str] = collections.Counter()
    self._invalid: collections.Counter[str] = collections.Counter()

  def _shards(self, domain: specs.Domain, task: str) -> list[_Shard]:
    """What is missing of a task, counted in `missing`."""
    found = [_Shard(domain, task, *one) for one in missing_shards(domain, task, self._raw, self._config)]
    self.missing[f"{domain.name}.{task}"] = sum(len(shard.seeds) for shard in found)
    return found

  def play(self) -> Iterator[tuple[str, int | Failure | Changed]]:
    """Collects; yields (task, episodes) as they are safe on the disk, (task, Failure) for each attempt that failed, and
    (task, Changed) where a task's old episodes were moved aside.

    Raises:
      GatoError: another process collects one of the tasks, or the disk is full.
    """
    workers = self._config.workers or len(os.sched_getaffinity(0))
    with contextlib.ExitStack() as locks:
      for name in sorted({shard.name for shard in self._queue}):
        locks.enter_context(self._locked(name))
      try:
        while True:
          while self._queue and len(self._busy) < workers:
            self._start()
          if not self._busy:
            return
          yield from self._turn()
      finally:
        for one in self._processes:
          one.end()

  @contextlib.contextmanager
  def _locked(self, name: str) -> Iterator[None]:
    """Two processes that write the same shards would spoil them."""
    directory = logs.task_directory(self._raw, *name.split(".", 1))
    directory.mkdir(parents=True, exist_ok=True)
    with directory.with_name(f".{directory.name}.lock").open("a") as file:  # beside it: it may be moved aside
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError as e:
        raise GatoError(f"another process collects {name} into {directory}; wait for it, or end it") from e
      yield

  @property
  def _busy(self) -> list[_Process]:
    return [one for one in self._processes if one.shard]

  def _start(self) -> None:
    """Gives a shard to a process that has not played another domain: their graphics libraries do not get on."""
    idle = [one for one in self._processes if not one.shard and not one.is_gone]
    same = ((one, shard) for one in idle for shard in self._queue if shard.domain.name == one.domain)
    chosen, shard = next(same, (None, self._queue[0]))
    if not chosen:
      for one in [one for one in self._processes if not one.shard]:
        self._end(one)
      chosen = _Process(self.log, shard.domain.name)
      self._processes.append(chosen)
    self._queue.remove(shard)
    chosen.shard, chosen.seed = shard, shard.seeds[0] if shard.seeds else None
    self.began.setdefault(shard.name, time.monotonic())
    self._await(chosen)
    settings = self._settings(shard)
    if shard.index is None:
      chosen.send("probe", (shard.domain, shard.task, self._raw, settings))
    else:
      chosen.send("shard", (shard.domain, shard.task, self._raw, shard.index, shard.seeds, settings))

  def _settings(self, shard: _Shard) -> TaskSettings:
    settings = self._config.settings_of(shard.domain.name, accept=self._accept)
    before = origin.read(logs.task_directory(self._raw, shard.domain.name, shard.task))
    if self._as_collected and before:
      return dataclasses.replace(settings, **{part: before[part] for part in settings.origin})
    return settings

  def _await(self, one: _Process) -> None:
    one.deadline = time.monotonic() + self._config.episode_seconds

  def _end(self, one: _Process, **how: Any) -> str:
    self._processes.remove(one)
    return one.end(**how)

  def _turn(self) -> Iterator[tuple[str, int | Failure | Changed]]:
    """Hears those that have something to say, and ends those that take too long or too much."""
    by_connection = {one.connection: one for one in self._busy}
    for connection in connections.wait(list(by_connection), timeout=_WATCH_SECONDS):
      one = by_connection[connection]
      if one.shard is None:  # another process of its task said "changed" before
        continue
      try:
        kind, content = worker.receive(connection)
      except (EOFError, ConnectionResetError):
        yield self._failed(one, f"the simulator's process ended by {self._end(one, patience=_ENDING_SECONDS)}")
        continue
      self._await(one)
      if kind == "began":
        one.seed = content
      elif kind == "kept" and content:
        self._in_a_row[one.shard.name] = 0
        yield one.shard.name, content
      elif kind == "finished":
        one.shard = None
      elif kind == "disk":
        raise GatoError(content)
      elif kind == "changed":
        yield self._changed(one.shard, content)
      elif kind in ("failed", "invalid", "refused"):
        yield self._failed(one, content, kind)
    if time.monotonic() - self._looked < _WATCH_SECONDS:
      return
    self._looked = time.monotonic()
    for one in self._busy:
      reason = self._excess(one)
      if reason:
        self._end(one, patience=_ENDING_SECONDS, hangs=True)
        yield self._failed(one, reason)

  def _excess(self, one: _Process) -> str:
    """Why a process has to be ended, or "".

    Its resident memory is what other processes lack. A limit on its address space (RLIMIT_AS) would count what GPU
    drivers and JAX only reserve, hundreds of GB, and would be met by a failed allocation somewhere in the simulator.
    """
    config = self._config
    if one.resident_bytes() > config.memory_gb * _GB:
      return f"more than {config.memory_gb:g} GB of memory (collect.memory_gb)"
    if time.monotonic() > one.deadline and not one.connection.poll():
      return f"no end after {config.episode_seconds:g} s (collect.episode_seconds)"
    return ""

  def _changed(self, shard: _Shard, what: str) -> tuple[str, Changed]:
    """Moves a task's episodes aside and begins the task anew."""
    for other in [other for other in self._busy if other.shard.name == shard.name]:
      other.shard = None
      self._end(other)  # it may write into what is moved
    aside = logs.move_aside(logs.task_directory(self._raw, shard.domain.name, shard.task))

    rest = [other for other in self._queue if other.name != shard.name]
    self._queue = self._shards(shard.domain, shard.task) + rest
    return shard.name, Changed(what, aside, self.missing[shard.name])

  def _failed(self, one: _Process, reason: str, kind: str = "failed") -> tuple[str, Failure]:
    """Notes a failure, and puts what is left of the shard into the queue again.

    Args:
      kind: "failed": another attempt at the episode may end better; "invalid": it would not; "refused": the whole task
        cannot be collected as it is.
    """
    shard, one.shard = one.shard, None
    name, seed, directory = shard.name, one.seed, logs.task_directory(self._raw, shard.domain.name, shard.task)
    failure = Failure(name, EXPERT, 0, seed, reason, str(self.log))
    results.append(directory / "failures.jsonl", [failure])

    if shard.index is not None:
      kept = {row.seed for row in logs.shard_rows(directory, shard.index)[1]}
      shard.seeds = [other for other in shard.seeds if other not in kept]
    self._attempts[name, seed] += 1
    self._invalid[name] += kind == "invalid"

    if seed is None or kind == "refused" or self._invalid[name] >= self._config.failures:
      self.given_up[name] = reason
    elif kind == "invalid" or self._attempts[name, seed] >= self._config.attempts:
      shard.seeds.remove(seed)
      self.skipped[name] += 1
      self._in_a_row[name] += 1
      if self._in_a_row[name] >= self._config.failures:
        self.given_up[name] = reason

    if name in self.given_up:
      self._queue = [other for other in self._queue if other.name != name]
    else:
      self._queue.insert(0, shard)
    return name, failure
