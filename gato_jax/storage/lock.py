"""Allows one writer per directory: a lock file that names the writer and does not outlive it.

The operating system's lock (flock) decides on one machine, and on shared file systems that support
it. Elsewhere the content of the file decides: host and process of the holder, and a heartbeat,
which is the file's modification time. Buckets: gato_jax/storage/bucket_lock.py.
"""

import contextlib
import dataclasses
import errno
import fcntl
import json
import logging
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import BinaryIO

from gato_jax.errors import GatoError
from gato_jax.storage import bucket_lock, disk, lock_holder, paths
from gato_jax.storage.lock_holder import Holder

_log = logging.getLogger(__name__)
# Raised by flock on file systems without such locks.
_NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@contextlib.contextmanager
def only_writer(folder: pathlib.Path, verb: str) -> Iterator[None]:
  """Holds the lock <folder>/<verb>.lock; creates the directory.

  Raises:
    GatoError: Another process holds it. A process that was killed holds nothing, on any host.
  """
  path = paths.path(folder) / f"{verb}.lock"
  if paths.is_remote(path):
    with bucket_lock.hold(path, lambda holder: _locked_error(holder, path, verb=verb)):
      yield
    return

  path.parent.mkdir(parents=True, exist_ok=True)

  # The file stays after the release: deleting it would take it from a process that has just opened
  # it.
  with path.open("a+b", buffering=0) as file:
    _lock(file, path, verb=verb)
    previous = _read(path)
    # A change is looked for instead of the age of the file: the clocks of hosts differ.
    if previous and lock_holder.is_alive(previous, path, look=lambda: _changed(path)):
      raise _locked_error(previous, path, verb=verb)

    holder = Holder.this()
    with disk.writing(path):
      file.truncate(0)
      file.write(json.dumps(dataclasses.asdict(holder)).encode())

    released = threading.Event()
    heartbeat = threading.Thread(
      target=_beat, args=(file.fileno(), path, released), name=f"{verb}.lock", daemon=True
    )
    heartbeat.start()
    try:
      yield
    finally:
      # The thread uses the descriptor, which must not be closed before it ends.
      released.set()
      heartbeat.join()
      file.truncate(0)


def _lock(file: BinaryIO, path: pathlib.Path, verb: str) -> None:
  """Takes the operating system's lock, if the file system has locks.

  Raises:
    GatoError: Another process holds it.
  """
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError as e:
    raise _locked_error(_read(path), path, verb=verb) from e
  except OSError as e:
    if e.errno not in _NO_LOCKS:
      raise


def _read(path: pathlib.Path) -> Holder | None:
  """Returns the holder in the file; None after a release, or if a kill left half a line."""
  try:
    return Holder(**json.loads(path.read_bytes()))
  except (ValueError, TypeError):
    return None


def _changed(path: pathlib.Path) -> int:
  """Returns a file's modification time in nanoseconds."""
  # Network file systems look for changes when a file is opened.
  with path.open("rb") as file:
    return os.fstat(file.fileno()).st_mtime_ns


def _beat(descriptor: int, path: pathlib.Path, released: threading.Event) -> None:
  """Renews the modification time until the lock is released."""
  while not released.wait(lock_holder.BEAT_SECONDS):
    try:
      os.utime(descriptor)
    except OSError as e:
      _log.warning("%s: no heartbeat (%s); processes on other hosts may take it", path, e)


def _locked_error(holder: Holder | None, path: pathlib.Path, verb: str) -> GatoError:
  process = f"process {holder.pid} on {holder.host}" if holder else "another process"
  return GatoError(
    f"{path.parent}: {process} writes here ({verb}); wait for it or end it, choose another folder, "
    f"or delete {path} where that process is gone"
  )
