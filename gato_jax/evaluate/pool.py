"""Parallel simulator processes against one policy: many episodes at once, each of any task.

A slot is one simulator's place in the policy's batch. Whoever is free takes the next job, so the tail of one task
leaves no core idle. Whatever has been observed by the time the policy is free is acted on in one call.
"""

import collections
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from multiprocessing import connection as connections
from typing import Any, Protocol

from gato_jax import results, specs, worker
from gato_jax.errors import GatoError
from gato_jax.evaluate import simulator
from gato_jax.evaluate.config import EvaluateConfig
from gato_jax.evaluate.jobs import POLICY, Failure, Job

_ENDING_SECONDS = 2.0  # for the last words of a process that is killed
_LINGER_SECONDS = 0.3e-3  # for a fuller batch; a call of the policy takes longer
_FOREVER = float("inf")


class Engine(Protocol):
  """What acts (gato_jax.agent.Engine)."""

  def pack(self, task: str, observation: Mapping[str, Any]) -> Any: ...
  def start(self, slot: int, task: str, seed: int) -> None: ...
  def act(self, observations: Mapping[int, Any]) -> Mapping[int, Any]: ...


def default_workers() -> int:
  """Four a core, at most 64: simulators mostly wait for the policy, but each starts Python, 0.1 to 0.3 GB."""
  return min(64, 4 * len(os.sched_getaffinity(0)))


class _Process(worker.Worker):
  """One simulator process: its job and the time by which it must be heard of."""

  def __init__(self, log: pathlib.Path):
    super().__init__(simulator.__name__, log)
    self.domains: set[str] = set()  # whose environments it has made
    self.job: Job | None = None
    self.deadline = _FOREVER


class Simulators:
  """The processes, for as long as the context lasts.

  Attributes:
    workers: how many at most. actions: that the policy has chosen. log: what simulators wrote to stderr.
    given_up: task -> episodes left for the next run after failures in a row.
  """

  def __init__(self, config: EvaluateConfig, log: pathlib.Path):
    self.workers = config.workers or default_workers()
    self.log = log
    self.actions = 0
    self.given_up: collections.Counter[str] = collections.Counter()
    self._config = config
    self._processes: dict[int, _Process] = {}
    self._failures: collections.Counter[str] = collections.Counter()  # in a row

  def __enter__(self) -> "Simulators":
    return self

  def __exit__(self, *error: Any) -> None:
    for slot in list(self._processes):
      self._processes.pop(slot).end()

  @property
  def running(self) -> list[str]:
    """Tasks that are being played."""
    return sorted({p.job.name for p in self._processes.values() if p.job})

  def play(
    self,
    jobs: Iterable[Job],
    engine: Engine | None = None,
    check_spec: Callable[[specs.TaskSpec], None] = lambda spec: None,
    until: float = _FOREVER,
  ) -> Iterator[tuple[Job, results.Row | Failure]]:
    """Plays jobs in their order; yields each with its row, or with why there is none, as it ends.

    Args:
      engine: acts for the jobs of the policy, in as many slots as there are workers.
      check_spec: raises where an environment is not what the policy was trained on.
      until: time.monotonic() after which no job is begun; those that run are finished.

    Raises:
      GatoError: of check_spec, or the disk is full; nothing else about a simulator ends more than its episode.
    """
    queue = collections.deque(jobs)
    self._failures.clear()
    try:
      while True:
        while queue and time.monotonic() < until and (slot := self._free_slot()) is not None:
          job = queue.popleft()
          if self._failures[job.name] >= self._config.failures:
            self.given_up[job.name] += 1
          else:
            self._start(slot, job, engine)
        busy = {p.connection: slot for slot, p in self._processes.items() if p.job}
        if not busy:
          return
        yield from self._turn(busy, engine, check_spec)
    finally:
      for slot, process in list(self._processes.items()):
        if process.job:  # the caller went away in the middle of it
          self._processes.pop(slot).end()

  def _free_slot(self) -> int | None:
    for slot in range(self.workers):
      if slot not in self._processes or not self._processes[slot].job:
        return slot
    return None

  def _start(self, slot: int, job: Job, engine: Engine | None) -> None:
    process = self._processes.get(slot)
    # One that is gone between two jobs costs nobody anything. Graphics libraries of several domains do not get on:
    # where Meta-World has loaded MuJoCo's binding, without EGL, the control suite's renderer aborts the process.
    if process and (process.is_gone or (job.film and process.domains - {job.domain.name})):
      self._processes.pop(slot).end()
    if slot not in self._processes:
      self._processes[slot] = _Process(self.log)
    process = self._processes[slot]
    if job.actor == POLICY:
      engine.start(slot, job.name, job.seed)
    process.domains.add(job.domain.name)
    process.job, process.deadline = job, time.monotonic() + self._config.reset_seconds
    process.send("job", job)

  def _turn(
    self, busy: Mapping[Any, int], engine: Engine | None, check_spec: Callable[[specs.TaskSpec], None]
  ) -> Iterator[tuple[Job, results.Row | Failure]]:
    """Hears those that have something to say, acts on what they observed, ends those that are late."""
    observed: dict[int, Any] = {}
    for connection in self._ready(busy):
      slot = busy[connection]
      process = self._processes[slot]
      job = process.job
      try:
        kind, content = worker.receive(connection)
      except (EOFError, ConnectionResetError):
        yield self._failed(slot, f"the simulator's process ended by {process.end(_ENDING_SECONDS)}")
        continue
      process.deadline = time.monotonic() + self._config.step_seconds
      if kind == "observation":
        try:
          observed[slot] = engine.pack(job.name, content)
          process.deadline = _FOREVER  # it waits for the policy
        except GatoError as e:
          process.send("refuse", str(e))
      elif kind == "opened":
        process.deadline = time.monotonic() + self._config.reset_seconds
        check_spec(specs.TaskSpec.from_json(content))
      elif kind == "row":
        self._failures[job.name] = 0
        process.job = None
        yield job, content
      elif kind == "disk":
        raise GatoError(content)
      elif kind == "failed":
        yield self._failed(slot, content)
    if observed:
      for slot, action in engine.act(observed).items():
        self._processes[slot].deadline = time.monotonic() + self._config.step_seconds
        self._processes[slot].send("action", action)
      self.actions += len(observed)
    for slot, process in list(self._processes.items()):
      if process.job and time.monotonic() > process.deadline and not process.connection.poll():
        process.end(_ENDING_SECONDS, hangs=True)
        yield self._failed(slot, "no answer from the simulator in time (evaluate.step_seconds, evaluate.reset_seconds)")

  def _ready(self, busy: Mapping[Any, int]) -> list[Any]:
    """Those with a message: waits for the first, then for others as long as they come quickly one after the other.

    A fuller batch costs the policy less an action than two that are half full.
    """
    deadline = min(self._processes[slot].deadline for slot in busy.values())
    ready = connections.wait(list(busy), timeout=max(0.0, deadline - time.monotonic()))
    while ready and len(ready) < len(busy):
      silent = [connection for connection in busy if connection not in ready]
      more = connections.wait(silent, timeout=_LINGER_SECONDS)
      if not more:
        break
      ready += more
    return ready

  def _failed(self, slot: int, reason: str) -> tuple[Job, Failure]:
    process = self._processes[slot]
    job, process.job = process.job, None
    if process.connection.closed:
      del self._processes[slot]
    self._failures[job.name] += 1
    return job, Failure(job.name, job.actor, job.step, job.seed, reason, str(self.log))
