"""Parallel simulator processes against one policy: many episodes at once, each of any task.

A slot is a simulator's index in the policy's batch. The first free simulator takes the next job, so
that no core is idle while the last episodes of a task run. Whatever has been observed when the
policy is free is acted on in one call.
"""

import collections
import math
import os
import pathlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Protocol

from gato_jax.env import results
from gato_jax.env.pool import PoolWorker, WorkerPool
from gato_jax.env.results import POLICY, Failure
from gato_jax.errors import GatoError
from gato_jax.evaluate import simulator_process
from gato_jax.evaluate.config import EvaluateConfig
from gato_jax.evaluate.jobs import Job
from gato_jax.task import TaskSpec

# Time to wait for a fuller batch, which costs the policy less an action than two that are half
# full. A call of the policy takes longer than this.
_LINGER_SECONDS = 0.3e-3


class EngineProtocol(Protocol):
  """The policy (gato_jax.agent.Engine)."""

  def pack(self, task: str, observation: Mapping[str, Any]) -> Any:
    """Returns an observation as `act` takes it; GatoError if it does not match the spec."""

  def start(self, slot: int, task: str, seed: int, group: str = "") -> None:
    """Begins an episode in a slot; one of a group may be begun again to name it."""

  def act(self, observations: Mapping[int, Any]) -> Mapping[int, Any]:
    """Returns slot -> action for slot -> packed observation."""


def default_workers() -> int:
  """Returns four processes a core, at most 64.

  Simulators mostly wait for the policy, but each process takes 0.1 to 0.3 GB for Python alone.
  """
  return min(64, 4 * len(os.sched_getaffinity(0)))


class Simulators:
  """The simulator processes, for as long as the context lasts.

  Attributes:
    workers: Largest number of processes.
    actions: Number of actions that the policy has chosen.
    log: File that gets what simulators write to stderr.
    given_up: "domain.task" -> episodes left for the next run after failures in a row.
  """

  def __init__(self, config: EvaluateConfig, log: pathlib.Path):
    self.workers = config.workers or default_workers()
    self.log = log
    self.actions = 0
    self.given_up: collections.Counter[str] = collections.Counter()
    self._config = config
    self._pool: WorkerPool[Job] = WorkerPool(
      simulator_process.__name__, log, size=self.workers, message_seconds=config.step_seconds
    )

  def __enter__(self) -> "Simulators":
    return self

  def __exit__(self, *error: Any) -> None:
    self._pool.close()

  @property
  def running(self) -> list[str]:
    """Names of the tasks that are being played."""
    return sorted({worker.job.name for worker in self._pool.busy})

  def play(
    self,
    jobs: Iterable[Job],
    engine: EngineProtocol | None = None,
    check_spec: Callable[[TaskSpec], None] = lambda spec: None,
    until: float = math.inf,
    skip: Callable[[Job], bool] = lambda job: False,
  ) -> Iterator[tuple[Job, results.Row | Failure]]:
    """Plays jobs in their order; yields each as it ends, with its row or its failure.

    Args:
      jobs: Episodes of any tasks and actors.
      engine: Acts for the jobs of the policy, in as many slots as there are workers.
      check_spec: Raises GatoError if an environment is not what the policy was trained on.
      until: time.monotonic() after which no job is begun; those that run are finished.
      skip: Asked before a job is begun; True leaves it out.

    Raises:
      GatoError: From check_spec, or the disk is full; nothing else about a simulator ends more than
        its episode.
    """
    queue = collections.deque(jobs)
    self._pool.failures_in_a_row.clear()

    try:
      while True:
        self._start_jobs(queue, engine, until=until, skip=skip)
        if not self._pool.busy:
          return
        yield from self._handle_messages(engine, check_spec)

        for worker, reason in self._pool.end_where(_lateness):
          yield self._failed(worker, reason)
    finally:
      # Some are busy if the caller stopped in the middle: what they would send next belongs to
      # nobody.
      for worker in self._pool.busy:
        self._pool.end(worker)

  def _start_jobs(
    self,
    queue: collections.deque[Job],
    engine: EngineProtocol | None,
    until: float,
    skip: Callable[[Job], bool],
  ) -> None:
    """Gives a job to each free slot."""
    while queue and time.monotonic() < until:
      slot = self._pool.free_slot()
      if slot is None:
        return

      job = queue.popleft()
      if skip(job):
        continue
      if self._pool.failures_in_a_row[job.name] >= self._config.failures:
        self.given_up[job.name] += 1
        continue

      if job.actor == POLICY:
        assert engine is not None, "jobs of the policy need its engine"
        engine.start(slot, job.name, job.seed)

      # Only videos are rendered: episodes for a score share a process with other domains, which
      # saves its start.
      self._pool.start(
        slot,
        job,
        message=("job", job),
        domain=job.domain.name,
        seconds=self._config.reset_seconds,
        one_domain=job.video is not None,
      )

  def _handle_messages(
    self, engine: EngineProtocol | None, check_spec: Callable[[TaskSpec], None]
  ) -> Iterator[tuple[Job, results.Row | Failure]]:
    """Waits for messages and acts on what simulators observed; yields as `play` does."""
    observations: dict[int, Any] = {}
    waiting: dict[int, PoolWorker[Job]] = {}
    timeout = min(worker.seconds_left for worker in self._pool.busy)

    for worker, kind, content in self._pool.receive(timeout, linger=_LINGER_SECONDS):
      job = worker.job
      if kind == "observation":
        assert engine is not None
        try:
          observations[worker.slot] = engine.pack(job.name, content)
        except GatoError as e:
          worker.send("refuse", str(e))
        else:
          # It is the policy's turn, however long that takes.
          waiting[worker.slot] = worker
          worker.expect_message(math.inf)

      elif kind == "opened":
        # The environment has been made; its first reset may take as long again.
        worker.expect_message(self._config.reset_seconds)
        check_spec(TaskSpec.from_json(content))

      elif kind == "group":
        assert engine is not None
        engine.start(worker.slot, job.name, job.seed, group=content)

      elif kind == "row":
        self._pool.failures_in_a_row[job.name] = 0
        yield worker.finish(), content

      elif kind == "failed":
        yield self._failed(worker, content)

    if observations:
      assert engine is not None
      for slot, action in engine.act(observations).items():
        waiting[slot].expect_message(self._config.step_seconds)
        waiting[slot].send("action", action)
      self.actions += len(observations)

  def _failed(self, worker: PoolWorker[Job], reason: str) -> tuple[Job, Failure]:
    job = worker.finish()
    self._pool.failures_in_a_row[job.name] += 1
    failure = Failure(
      job.name, job.actor, step=job.step, seed=job.seed, reason=reason, log=str(self.log)
    )
    return job, failure


def _lateness(worker: PoolWorker[Job]) -> str:
  """Returns why a worker has to be ended, or ""."""
  if not worker.is_late:
    return ""
  return "no answer from the simulator in time (evaluate.step_seconds, evaluate.reset_seconds)"
