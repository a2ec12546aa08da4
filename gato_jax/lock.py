"""One writer a folder: a lock file that says who writes, and that a killed process does not leave behind for good.

The operating system's lock (flock) settles it on one machine, and on the shared file systems that pass it on. Where
they do not, the file's content does: the holder's host and process, and a heartbeat, the file's time of change.
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import os
import pathlib
import socket
import threading
import time
from collections.abc import Iterator
from typing import BinaryIO

import psutil

from gato_jax import disk
from gato_jax.errors import GatoError

_log = logging.getLogger(__name__)
_BEAT_SECONDS = 10.0
_PATIENCE_SECONDS = 40.0  # without a heartbeat, after which a process on another host counts as dead
# What flock says on file systems that have no such locks.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@dataclasses.dataclass(frozen=True)
class Holder:
  """A process that writes. began: when it was started, which tells it from a later one with its number."""

  host: str
  pid: int
  began: float

  @property
  def is_here(self) -> bool:
    return self.host == socket.gethostname()

  @property
  def lives(self) -> bool:
    """Whether the process is there; only for one on this host."""
    try:
      return abs(psutil.Process(self.pid).create_time() - self.began) < 2.0  # the clock may be set meanwhile
    except psutil.NoSuchProcess:
      return False


@contextlib.contextmanager
def only_writer(folder: pathlib.Path, verb: str) -> Iterator[None]:
  """Holds <folder>/<verb>.lock; the folder is created.

  Raises:
    GatoError: another process holds it. One that was killed does not, on whichever host it ran.
  """
  path = pathlib.Path(folder) / f"{verb}.lock"
  path.parent.mkdir(parents=True, exist_ok=True)

  # The file stays when it is released: deleting it would take it from under a process that has just opened it.
  with path.open("a+b", buffering=0) as file:
    _lock(file, path, verb)
    left = _read(path)
    if left and _is_alive(left, path):
      raise _taken(left, path, verb)
    me = Holder(socket.gethostname(), os.getpid(), psutil.Process().create_time())
    with disk.writing(path):
      file.truncate(0)
      file.write(json.dumps(dataclasses.asdict(me)).encode())

    released = threading.Event()
    heart = threading.Thread(target=_beat, args=(file.fileno(), path, released), name=f"{verb}.lock", daemon=True)
    heart.start()
    try:
      yield
    finally:
      released.set()
      heart.join()
      file.truncate(0)


def _lock(file: BinaryIO, path: pathlib.Path, verb: str) -> None:
  """Takes the operating system's lock, where there is one; raises GatoError where another process has it."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as e:
    raise _taken(_read(path), path, verb) from e
  except OSError as e:
    if e.errno not in _NO_LOCKS:
      raise


def _read(path: pathlib.Path) -> Holder | None:
  """Returns who wrote the file; None where it was released, or where a kill left half a line."""
  try:
    return Holder(**json.loads(path.read_bytes()))
  except (ValueError, TypeError):
    return None


def _is_alive(left: Holder, path: pathlib.Path) -> bool:
  """Whether a holder still writes. One on another host is watched for a while: clocks of hosts differ."""
  if left.is_here:
    return left.pid != os.getpid() and left.lives
  _log.warning("%s was left by process %d on %s: waiting %.0f s for a sign of life", path, left.pid, left.host,
               _PATIENCE_SECONDS)  # fmt: skip
  before, until = _changed(path), time.monotonic() + _PATIENCE_SECONDS
  while time.monotonic() < until:
    time.sleep(_BEAT_SECONDS / 10)
    if _changed(path) != before:
      return True
  return False


def _changed(path: pathlib.Path) -> int:
  with path.open("rb") as file:  # opened anew: network file systems look for changes then
    return os.fstat(file.fileno()).st_mtime_ns


def _beat(descriptor: int, path: pathlib.Path, released: threading.Event) -> None:
  while not released.wait(_BEAT_SECONDS):
    try:
      os.utime(descriptor)
    except OSError as e:
      _log.warning("%s: no heartbeat (%s); processes on other hosts may take it", path, e)


def _taken(holder: Holder | None, path: pathlib.Path, verb: str) -> GatoError:
  who = f"process {holder.pid} on {holder.host}" if holder else "another process"
  return GatoError(
    f"{path.parent}: {who} writes here ({verb}); wait for it or end it, choose another folder, or delete {path} where "
    "that process is gone"
  )
