"""The process that holds a lock, as the lock names it."""

import dataclasses
import os
import socket

import psutil

BEAT_SECONDS = 10.0
# A process on another host counts as dead after so long without a heartbeat.
PATIENCE_SECONDS = 40.0

# The time of a process's start may differ by this much when it is read again: somebody may have set
# the clock in between.
_CLOCK_TOLERANCE_SECONDS = 2.0


@dataclasses.dataclass(frozen=True)
class Holder:
  """A process that writes.

  Attributes:
    host: Name of its machine.
    pid: Number of the process.
    began: When it was started, which tells it from a later process with the same number.
  """

  host: str
  pid: int
  began: float

  @classmethod
  def this(cls) -> "Holder":
    """Returns the process that calls."""
    return cls(socket.gethostname(), os.getpid(), began=psutil.Process().create_time())

  @property
  def is_here(self) -> bool:
    """True for a process on this host."""
    return self.host == socket.gethostname()

  @property
  def lives(self) -> bool:
    """True while the process runs; only for one on this host."""
    try:
      start = psutil.Process(self.pid).create_time()
    except psutil.NoSuchProcess:
      return False

    return abs(start - self.began) < _CLOCK_TOLERANCE_SECONDS
