"""A pool of simulator processes: starts them, receives their messages, ends those that hang.

What a job is and what its messages mean is up to the caller: `collect.collection` has shards
played, and `evaluate.simulator_pool` episodes against one policy.
"""

import collections
import math
import pathlib
import time
from collections.abc import Callable, Iterator
from multiprocessing import connection as connections
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar, cast

from gato_jax.env import worker as worker_process
from gato_jax.errors import GatoError

_ENDING_SECONDS = 2.0  # in which a process that is ended may still write its traceback
_Job = TypeVar("_Job")


class PoolWorker(worker_process.Worker, Generic[_Job]):
  """A process of the pool and the job that it works on.

  Attributes:
    slot: Index of the worker, below the size of the pool.
    domains: Names of the domains of which the process has made an environment.
  """

  def __init__(self, module: str, log: pathlib.Path, slot: int):
    super().__init__(module, log)
    self.slot = slot
    self.domains: set[str] = set()
    self._job: _Job | None = None
    self._deadline = math.inf

  @property
  def is_busy(self) -> bool:
    return self._job is not None

  @property
  def job(self) -> _Job:
    assert self._job is not None, "an idle worker has no job"
    return self._job

  def finish(self) -> _Job:
    """Returns the job; the worker is idle from now on."""
    job, self._job = self.job, None
    return job

  def expect_message(self, seconds: float) -> None:
    """Sets the time within which the next message is due; `math.inf` for one that need not come."""
    self._deadline = time.monotonic() + seconds

  @property
  def seconds_left(self) -> float:
    """Seconds until the next message is due, not below 0."""
    return max(0.0, self._deadline - time.monotonic())

  @property
  def is_late(self) -> bool:
    """True when the deadline has passed and no message waits in the pipe."""
    return time.monotonic() > self._deadline and not self.connection.poll()


class WorkerPool(Generic[_Job]):
  """Processes, each started when it is first needed.

  Attributes:
    size: Largest number of processes.
    log: File that gets what they write to stdout and stderr.
    failures_in_a_row: "domain.task" -> failures since its last success; the caller counts.
  """

  def __init__(self, module: str, log: pathlib.Path, size: int, message_seconds: float):
    """Initializes a pool without any process.

    Args:
      module: The program of the workers (see worker.py).
      log: Gets what the processes write.
      size: Largest number of processes.
      message_seconds: After each message, the next one is due within this time.
    """
    self.size = size
    self.log = log
    self.failures_in_a_row: collections.Counter[str] = collections.Counter()
    self._module = module
    self._message_seconds = message_seconds
    self._workers: dict[int, PoolWorker[_Job]] = {}

  @property
  def busy(self) -> list[PoolWorker[_Job]]:
    return [worker for worker in self._workers.values() if worker.is_busy]

  @property
  def idle(self) -> list[PoolWorker[_Job]]:
    return [worker for worker in self._workers.values() if not worker.is_busy]

  def free_slot(self) -> int | None:
    """Returns the first slot without a job; None if all are busy."""
    for slot in range(self.size):
      if slot not in self._workers or not self._workers[slot].is_busy:
        return slot
    return None

  def start(
    self,
    slot: int,
    job: _Job,
    message: tuple[str, Any],
    *,
    domain: str,
    seconds: float,
    one_domain: bool,
  ) -> None:
    """Begins a job in a free slot, in a new process if the slot's is gone or cannot be used.

    Graphics libraries of several domains do not get on: where Meta-World has loaded MuJoCo's
    binding, without EGL, the control suite's renderer aborts the process.

    Args:
      slot: Where the job runs.
      job: What the worker is busy with from now on.
      message: What is sent to it, (kind, content).
      domain: Name of the job's domain.
      seconds: The first message of the worker is due within this time.
      one_domain: True if the process must not have played another domain before.
    """
    worker = self._workers.get(slot)

    # A process that ended between two jobs costs no episode.
    if worker and (worker.is_gone or (one_domain and worker.domains - {domain})):
      self.end(worker)
      worker = None
    if worker is None:
      worker = self._workers[slot] = PoolWorker(self._module, self.log, slot=slot)

    worker._job = job
    worker.domains.add(domain)
    worker.expect_message(seconds)
    worker.send(*message)

  def receive(
    self, timeout: float, linger: float = 0.0
  ) -> Iterator[tuple[PoolWorker[_Job], str, Any]]:
    """Yields (worker, kind, content) of the messages that have come from busy workers.

    For a process that ended, which is no longer in the pool, yields (worker, "failed", how it
    ended). Workers that the caller ends while it iterates yield nothing more.

    Args:
      timeout: Seconds to wait for the first message.
      linger: Then waits for those of others as long as one comes within this time after the other.

    Raises:
      GatoError: A worker met a full disk, which stops all of them.
    """
    by_connection = {worker.connection: worker for worker in self.busy}
    for connection in _readable(list(by_connection), timeout, linger=linger):
      sender = by_connection[connection]
      # Ended by the caller, in answer to a message before this one.
      if not sender.is_busy:
        continue

      try:
        kind, content = worker_process.receive(connection)
      except (EOFError, ConnectionResetError):
        status = self.end(sender, patience=_ENDING_SECONDS)
        yield sender, "failed", f"the simulator's process ended by {status}"
        continue

      if kind == "disk":
        raise GatoError(content)
      sender.expect_message(self._message_seconds)
      yield sender, kind, content

  def end_where(
    self, find_reason: Callable[[PoolWorker[_Job]], str]
  ) -> Iterator[tuple[PoolWorker[_Job], str]]:
    """Ends the busy workers that have a reason to be ended; yields each with its reason.

    Args:
      find_reason: worker -> why it has to be ended; "" if it may go on.
    """
    for worker in self.busy:
      reason = find_reason(worker)
      if reason:
        self.end(worker, patience=_ENDING_SECONDS, hangs=True)
        yield worker, reason

  def end(self, worker: PoolWorker[_Job], **settings: Any) -> str:
    """Ends one worker and says how it ended (see Worker.end)."""
    del self._workers[worker.slot]
    return worker.end(**settings)

  def close(self) -> None:
    """Ends all workers."""
    for worker in list(self._workers.values()):
      self.end(worker)


def _readable(waiting: list[Connection], timeout: float, linger: float) -> list[Connection]:
  """Returns the connections that have a message or have lost their other end."""
  ready = connections.wait(waiting, timeout)

  # Ends when all have answered, or when none does within `linger` seconds.
  while linger and ready and len(ready) < len(waiting):
    silent = [connection for connection in waiting if connection not in ready]
    more = connections.wait(silent, timeout=linger)
    if not more:
      break
    ready += more

  # wait() also takes sockets and descriptors, and is typed accordingly.
  return cast(list[Connection], ready)
