"""One writer per directory of a bucket: an object that names the writer and that it rewrites.

An object store has no locks of processes. It creates an object only where there is none, for one of
two that ask at the same time; whether the one that created it still lives, its heartbeat says, a
number in the object that goes up.
"""

import contextlib
import dataclasses
import json
import logging
import pathlib
import secrets
import threading
from collections.abc import Callable, Iterator

from gato_jax.storage import lock_holder, paths
from gato_jax.storage.lock_holder import Holder

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Entry:
  """Content of a lock.

  Attributes:
    holder: The process.
    key: Random, so that a process recognises its own entry.
    beats: Number of heartbeats so far.
  """

  holder: Holder
  key: str
  beats: int = 0

  def encode(self) -> bytes:
    return json.dumps(dataclasses.asdict(self)).encode()


@contextlib.contextmanager
def hold(path: pathlib.Path, locked_error: Callable[[Holder | None], Exception]) -> Iterator[None]:
  """Holds a lock.

  Args:
    path: Address of the lock.
    locked_error: Returns the error that is raised where another process holds it.

  Raises:
    GatoError: The bucket cannot be reached.
  """
  own = _Entry(Holder.this(), secrets.token_hex(8))
  previous = _read(path)
  if previous is not None:
    if lock_holder.is_alive(previous.holder, path, look=lambda: _read(path)):
      raise locked_error(previous.holder)
    # It is created below, where another process may have been faster.
    path.unlink(missing_ok=True)

  _create(path, own)
  entry = _read(path)
  if entry is None or entry.key != own.key:
    raise locked_error(entry.holder if entry else None)

  released = threading.Event()
  heartbeat = threading.Thread(
    target=_beat, args=(path, own, released), name=path.name, daemon=True
  )
  heartbeat.start()
  try:
    yield
  finally:
    released.set()
    heartbeat.join()
    entry = _read(path)
    if entry is not None and entry.key == own.key:
      path.unlink(missing_ok=True)


def _create(path: pathlib.Path, entry: _Entry) -> None:
  """Writes an entry unless there is one."""
  system, name = paths.file_system(path)
  with paths.reachable(str(path)), contextlib.suppress(FileExistsError):
    system.pipe_file(name, entry.encode(), mode="create")


def _read(path: pathlib.Path) -> _Entry | None:
  """Returns the entry; None where there is none, or it is not one."""
  with paths.reachable(str(path)):
    try:
      fields = json.loads(path.read_bytes())
      return _Entry(**fields | {"holder": Holder(**fields["holder"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
      return None


def _beat(path: pathlib.Path, own: _Entry, released: threading.Event) -> None:
  """Counts on until the lock is released, or until it is another's."""
  beats = 0
  while not released.wait(lock_holder.BEAT_SECONDS):
    beats += 1
    try:
      entry = _read(path)
      if entry is not None and entry.key != own.key:
        _log.error(
          "%s: process %d on %s has taken it and writes here, too: end one of the two",
          path,
          entry.holder.pid,
          entry.holder.host,
        )
        return
      path.write_bytes(dataclasses.replace(own, beats=beats).encode())
    except Exception as e:  # noqa: BLE001  the next heartbeat may succeed
      _log.warning("%s: no heartbeat (%s); processes on other hosts may take it", path, e)
