"""Collects in parallel, one worker a core, with limits on time, memory and failures."""

import collections
import contextlib
import dataclasses
import fcntl
import os
import pathlib
import random
import time
from collections.abc import Iterator, Sequence

from gato_jax.domain import SimulatedDomain
from gato_jax.env import logs, results
from gato_jax.env.collect import process
from gato_jax.env.collect.config import CollectConfig, TaskSettings
from gato_jax.env.collect.shards import missing_shards
from gato_jax.env.pool import PoolWorker, WorkerPool
from gato_jax.env.results import EXPERT, Failure
from gato_jax.errors import GatoError
from gato_jax.storage import origin

_WATCH_SECONDS = 0.25  # between two looks at the workers' memory and deadlines
_GB = 1e9


@dataclasses.dataclass
class _Shard:
  """The missing part of a shard.

  Attributes:
    domain: The domain of the task.
    task: Its short name.
    index: The shard's number; None where nothing is missing of the task, and only its origin is
      compared.
    seeds: Seeds of the missing episodes.
    running_seed: The seed that is played or comes next; None where the shard has only to be
      completed.
  """

  domain: SimulatedDomain
  task: str
  index: int | None
  seeds: list[int]
  running_seed: int | None = None

  @property
  def name(self) -> str:
    return f"{self.domain.name}.{self.task}"

  def directory(self, raw: pathlib.Path) -> pathlib.Path:
    return logs.task_directory(raw, self.domain.name, self.task)


@dataclasses.dataclass(frozen=True)
class MovedAside:
  """Episodes of another origin were moved aside, and their task is collected anew.

  Attributes:
    reason: Says which part of the origin changed.
    aside: Where the old episodes are now.
    episodes: Number of episodes that are collected in their place.
  """

  reason: str
  aside: pathlib.Path
  episodes: int


class Collection:
  """The missing expert episodes of some tasks.

  Attributes:
    missing: "domain.task" -> number of missing episodes.
    skipped: "domain.task" -> number of episodes that failed in every attempt.
    given_up: "domain.task" -> why the rest of it is left for the next run.
    began: "domain.task" -> time.monotonic() of its first shard.
    log: File that gets what simulators write to stderr.
    is_complete: True when there was nothing to collect from the start.
  """

  def __init__(
    self,
    tasks: Sequence[tuple[SimulatedDomain, str]],
    raw: pathlib.Path,
    config: CollectConfig,
    accept: bool = False,
    as_collected: bool = False,
  ):
    """Looks up what is missing.

    Args:
      tasks: (domain, short name) of each task.
      raw: Directory of all raw logs.
      config: What is collected, and how.
      accept: True to let episodes of another origin stay and count as of this one; otherwise they
        are moved aside.
      as_collected: True to go on with the pushes and mistakes of the episodes that are there,
        whatever `config` says.
    """
    self.missing: dict[str, int] = {}
    self.skipped: collections.Counter[str] = collections.Counter()
    self.given_up: dict[str, str] = {}
    self.began: dict[str, float] = {}
    self.log = raw / "collect.log"
    self._raw = raw
    self._config = config
    self._accept = accept
    self._as_collected = as_collected
    self._attempts: collections.Counter[tuple[str, int | None]] = collections.Counter()
    self._invalid: collections.Counter[str] = collections.Counter()
    self._watched_at = 0.0

    self._queue: list[_Shard] = []
    for domain, task in tasks:
      self._queue += self._missing_shards(domain, task) or [
        _Shard(domain, task, index=None, seeds=[])
      ]
    self.is_complete = all(shard.index is None for shard in self._queue)

    # Slow and fast tasks are mixed, so that the time that is left can be told from the time that
    # has passed.
    random.Random(0).shuffle(self._queue)

    self._pool: WorkerPool[_Shard] = WorkerPool(
      process.__name__,
      self.log,
      size=config.workers or len(os.sched_getaffinity(0)),
      message_seconds=config.episode_seconds,
    )

  def _missing_shards(self, domain: SimulatedDomain, task: str) -> list[_Shard]:
    """Returns the missing shards of a task, and counts their episodes in `missing`."""
    shards = [
      _Shard(domain, task, index=index, seeds=seeds)
      for index, seeds in missing_shards(domain, task, raw=self._raw, config=self._config)
    ]
    self.missing[f"{domain.name}.{task}"] = sum(len(shard.seeds) for shard in shards)
    return shards

  def play(self) -> Iterator[tuple[str, int | Failure | MovedAside]]:
    """Collects what is missing.

    Yields:
      (task, number of episodes) as they are safe on the disk, (task, Failure) for each attempt that
      failed, and (task, MovedAside) where the old episodes of a task were moved aside.

    Raises:
      GatoError: Another process collects one of the tasks, or the disk is full.
    """
    with contextlib.ExitStack() as stack:
      for name in sorted({shard.name for shard in self._queue}):
        stack.enter_context(self._locked(name))

      # Closed before the locks are released: a worker may still write.
      stack.callback(self._pool.close)

      while True:
        while self._queue and self._pool.free_slot() is not None:
          self._start_shard()
        if not self._pool.busy:
          return
        yield from self._handle_messages()
        yield from self._end_excessive_workers()

  @contextlib.contextmanager
  def _locked(self, name: str) -> Iterator[None]:
    """Keeps a second process from writing the shards of a task, which would spoil them."""
    directory = logs.task_directory(self._raw, *name.split(".", 1))
    directory.mkdir(parents=True, exist_ok=True)

    # The lock is beside the directory, which may be moved aside.
    with directory.with_name(f".{directory.name}.lock").open("a") as file:
      try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError as e:
        raise GatoError(
          f"another process collects {name} into {directory}; wait for it, or end it"
        ) from e
      yield

  def _start_shard(self) -> None:
    """Gives a shard of the queue to a worker that has not played another domain."""
    slot, shard = self._next_assignment()
    self._queue.remove(shard)
    shard.running_seed = shard.seeds[0] if shard.seeds else None
    self.began.setdefault(shard.name, time.monotonic())

    # Without an index there is nothing to play.
    parts = () if shard.index is None else (shard.index, shard.seeds)
    arguments = (shard.domain, shard.task, self._raw, *parts, self._settings(shard))
    self._pool.start(
      slot,
      shard,
      message=("shard" if parts else "probe", arguments),
      domain=shard.domain.name,
      seconds=self._config.episode_seconds,
      one_domain=True,
    )

  def _next_assignment(self) -> tuple[int, _Shard]:
    """Returns a free slot and a shard; prefers an idle process that played the shard's domain."""
    for idle in self._pool.idle:
      for shard in self._queue:
        if not idle.is_gone and shard.domain.name in idle.domains:
          return idle.slot, shard

    # The idle processes are of no use for what is left, and hold memory.
    for idle in self._pool.idle:
      self._pool.end(idle)
    slot = self._pool.free_slot()
    assert slot is not None
    return slot, self._queue[0]

  def _settings(self, shard: _Shard) -> TaskSettings:
    settings = self._config.settings_of(shard.domain.name, accept=self._accept)
    before = origin.read(shard.directory(self._raw))

    if self._as_collected and before:
      collected = {part: before[part] for part in settings.origin}
      return dataclasses.replace(settings, **collected)
    return settings

  def _handle_messages(self) -> Iterator[tuple[str, int | Failure | MovedAside]]:
    """Waits for messages of the workers; yields as `play` does."""
    for worker, kind, content in self._pool.receive(timeout=_WATCH_SECONDS):
      shard = worker.job
      if kind == "began":
        shard.running_seed = content
      elif kind == "kept" and content:
        self._pool.failures_in_a_row[shard.name] = 0
        yield shard.name, content
      elif kind == "finished":
        worker.finish()
      elif kind == "changed":
        yield shard.name, self._collect_anew(shard, content)
      elif kind in ("failed", "invalid", "refused"):
        yield shard.name, self._handle_failure(worker.finish(), content, kind=kind)

  def _end_excessive_workers(self) -> Iterator[tuple[str, Failure]]:
    """Ends the workers that take too long or too much memory; yields the failures."""
    # Messages may come much faster than that, and reading a process's memory is slow.
    if time.monotonic() - self._watched_at < _WATCH_SECONDS:
      return
    self._watched_at = time.monotonic()

    for worker, reason in self._pool.end_where(self._excess):
      shard = worker.finish()
      yield shard.name, self._handle_failure(shard, reason)

  def _excess(self, worker: PoolWorker[_Shard]) -> str:
    """Returns why a process has to be ended, or "".

    Its resident memory is what other processes lack. A limit on its address space (RLIMIT_AS) would
    count what GPU drivers and JAX only reserve, hundreds of GB, and would be met by a failed
    allocation somewhere in the simulator.
    """
    config = self._config
    if worker.resident_bytes() > config.memory_gb * _GB:
      return f"more than {config.memory_gb:g} GB of memory (collect.memory_gb)"
    if worker.is_late:
      return f"no end after {config.episode_seconds:g} s (collect.episode_seconds)"
    return ""

  def _collect_anew(self, shard: _Shard, reason: str) -> MovedAside:
    """Moves a task's episodes aside and queues the whole task."""
    # Workers of the same task, the one that noticed included, may write into what is moved.
    for worker in self._pool.busy:
      if worker.job.name == shard.name:
        worker.finish()
        self._pool.end(worker)
    aside = logs.move_aside(shard.directory(self._raw))

    others = [other for other in self._queue if other.name != shard.name]
    self._queue = self._missing_shards(shard.domain, shard.task) + others
    return MovedAside(reason, aside, episodes=self.missing[shard.name])

  def _handle_failure(self, shard: _Shard, reason: str, kind: str = "failed") -> Failure:
    """Writes a failure down, and puts the rest of the shard into the queue again.

    Args:
      shard: The shard whose running episode failed.
      reason: One line for the user.
      kind: "failed": another attempt at the episode may end better; "invalid": it would not;
        "refused": the whole task cannot be collected as it is.

    Returns:
      The line of failures.jsonl.
    """
    name = shard.name
    seed = shard.running_seed
    directory = shard.directory(self._raw)
    failure = Failure(task=name, actor=EXPERT, step=0, seed=seed, reason=reason, log=str(self.log))
    results.append(directory / "failures.jsonl", [failure])

    if shard.index is not None:
      _, rows = logs.shard_rows(directory, shard.index)
      kept = {row.seed for row in rows}
      shard.seeds = [other for other in shard.seeds if other not in kept]
    self._attempts[name, seed] += 1
    self._invalid[name] += kind == "invalid"

    # Without a seed no episode is to blame: the environment cannot be made, or the shard cannot be
    # completed.
    most = self._config.failures
    if seed is None or kind == "refused" or self._invalid[name] >= most:
      self.given_up[name] = reason
    elif kind == "invalid" or self._attempts[name, seed] >= self._config.attempts:
      shard.seeds.remove(seed)
      self.skipped[name] += 1
      self._pool.failures_in_a_row[name] += 1
      if self._pool.failures_in_a_row[name] >= most:
        self.given_up[name] = reason

    if name in self.given_up:
      self._queue = [other for other in self._queue if other.name != name]
    else:
      self._queue.insert(0, shard)
    return failure
