"""The process that holds a lock, as the lock names it."""

import dataclasses
import logging
import os
import pathlib
import socket
import time
from collections.abc import Callable
from typing import Any

import psutil

_log = logging.getLogger(__name__)

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


def is_alive(holder: Holder, path: pathlib.Path, look: Callable[[], Any]) -> bool:
  """Returns True if a holder is still running.

  Args:
    holder: As the lock names it.
    path: The lock, for the message.
    look: Returns something that changes with each heartbeat; None where the lock is gone.
  """
  if holder.is_here:
    # An entry of this very process is from an earlier lock of its own.
    return holder.pid != os.getpid() and holder.lives

  _log.warning(
    "%s was left by process %d on %s: waiting %.0f s for a sign of life",
    path,
    holder.pid,
    holder.host,
    PATIENCE_SECONDS,
  )
  before = look()
  deadline = time.monotonic() + PATIENCE_SECONDS
  while time.monotonic() < deadline:
    time.sleep(BEAT_SECONDS / 10)
    now = look()
    if now is None:
      return False
    if now != before:
      return True

  return False
