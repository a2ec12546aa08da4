"""Parts of large objects of a bucket, kept on this machine.

An object is cut into pieces, each fetched when it is first read and kept as a file: later reads,
other processes of this machine and later runs find it there. A kill leaves complete pieces or none.
The directory has a limit; the pieces that were not read for the longest time go first.

The machine decides, not the experiment: GATO_CACHE_DIR is the directory (~/.cache/gato_jax by
default), GATO_CACHE_GIB its limit (by default half of what is free there at the start).
"""

import collections
import functools
import logging
import os
import pathlib
import shutil
import threading
import zlib

from gato_jax.errors import GatoError
from gato_jax.storage import files, paths

_log = logging.getLogger(__name__)

PIECE_BYTES = 8 << 20
_CHECK_BYTES = 4  # of a CRC-32 behind each piece
_SUFFIX = ".piece"
# What is left of the limit after pieces were deleted, so that this does not happen at every piece.
_LEFT = 0.9


def directory() -> pathlib.Path:
  """Returns the directory of everything that is kept of buckets."""
  default = pathlib.Path("~/.cache/gato_jax")
  return pathlib.Path(os.environ.get("GATO_CACHE_DIR") or default).expanduser()


def limit_bytes() -> int:
  """Returns the limit of the pieces.

  Raises:
    GatoError: GATO_CACHE_GIB is not a number.
  """
  text = os.environ.get("GATO_CACHE_GIB", "")
  if not text:
    home = directory()
    home.mkdir(parents=True, exist_ok=True)
    return shutil.disk_usage(home).free // 2

  try:
    return int(float(text) * 2**30)
  except ValueError:
    raise GatoError(f"GATO_CACHE_GIB={text!r}: give a number of GiB, e.g. 100") from None


class CachedObject:
  """Random reads of an object; threads may share it."""

  def __init__(self, address: str, size: int, folder: pathlib.Path):
    """Opens an object, of which nothing is fetched yet.

    Args:
      address: gs://bucket/name or s3://bucket/name.
      size: Its size in bytes.
      folder: Where its pieces are kept; of this version of the object alone.
    """
    self._address = address
    self._size = size
    self._folder = folder
    self._checked: set[int] = set()
    self._locks: dict[int, threading.Lock] = collections.defaultdict(threading.Lock)
    folder.mkdir(parents=True, exist_ok=True)

  def read(self, offset: int, size: int) -> bytes:
    """Returns a part of the object, shorter where the object ends.

    Raises:
      GatoError: The bucket cannot be reached, or the object is another one by now.
    """
    end = min(offset + size, self._size)
    parts = []
    while offset < end:
      number, start = divmod(offset, PIECE_BYTES)
      part = self._read_piece(number, start, min(PIECE_BYTES - start, end - offset))
      parts.append(part)
      offset += len(part)

    return b"".join(parts)

  def _read_piece(self, number: int, start: int, size: int) -> bytes:
    path = self._folder / f"{number}{_SUFFIX}"
    while True:
      try:
        with path.open("rb", buffering=0) as file:
          if number not in self._checked:
            self._check(number, file.read())
          os.utime(file.fileno())
          return os.pread(file.fileno(), size, start)
      except FileNotFoundError:
        self._fetch(number, path)
      except _DamagedPiece:
        _log.warning("%s is damaged and is fetched again", path)
        path.unlink(missing_ok=True)

  def _check(self, number: int, content: bytes) -> None:
    """Compares a piece with its check sum, once in this process."""
    body, check = content[:-_CHECK_BYTES], content[-_CHECK_BYTES:]
    if len(body) != self._length(number) or zlib.crc32(body).to_bytes(4, "little") != check:
      raise _DamagedPiece
    self._checked.add(number)

  def _length(self, number: int) -> int:
    return min(PIECE_BYTES, self._size - number * PIECE_BYTES)

  def _fetch(self, number: int, path: pathlib.Path) -> None:
    # One thread fetches, the others wait for it.
    with self._locks[number]:
      if path.exists():
        return

      begin = number * PIECE_BYTES
      with paths.reachable(self._address):
        system, name = paths.file_system(self._address)
        content = system.cat_file(name, start=begin, end=begin + self._length(number))
      if len(content) != self._length(number):
        raise GatoError(f"{self._address}: shorter than its description says; start again")

      files.write(path, content + zlib.crc32(content).to_bytes(_CHECK_BYTES, "little"))
      _room(directory()).take(len(content))


class _DamagedPiece(Exception):
  """A piece does not hold what was fetched."""


class _Room:
  """The bytes that pieces take below a directory, as far as this process knows."""

  def __init__(self, home: pathlib.Path):
    self._home = home
    self._limit = limit_bytes()
    self._lock = threading.Lock()
    self._taken = sum(size for _, size, _ in self._pieces())

  def _pieces(self) -> list[tuple[float, int, pathlib.Path]]:
    """Returns time of the last read, size and path of every piece."""
    pieces = []
    for path in self._home.rglob(f"*{_SUFFIX}"):
      try:
        status = path.stat()
      except FileNotFoundError:
        continue  # another process has made room
      pieces.append((status.st_mtime, status.st_size, path))
    return pieces

  def take(self, size: int) -> None:
    """Counts a new piece, and deletes the ones that were not read for longest above the limit."""
    with self._lock:
      self._taken += size
      if self._taken <= self._limit:
        return

      # Other processes have written and deleted, too.
      pieces = sorted(self._pieces())
      self._taken = sum(size for _, size, _ in pieces)
      for _, size, path in pieces[:-1]:
        if self._taken <= _LEFT * self._limit:
          return
        path.unlink(missing_ok=True)
        self._taken -= size


@functools.cache
def _room(home: pathlib.Path) -> _Room:
  return _Room(home)
