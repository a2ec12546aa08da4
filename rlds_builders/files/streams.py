"""Reads plain, gzip and Zstandard files as bytes, as text and line by line.

No file is held in memory as a whole. Every file is read to the end that its format declares, or a
GatoError names it.
"""

import contextlib
import gzip
import io
import json
import pathlib
import tarfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO, cast

import zstandard

from gato_jax.errors import GatoError
from gato_jax.storage import files

# Endings that a file may have behind its own: it is plain or compressed.
COMPRESSED = ("", ".gz", ".zst")

_CHUNK = 2**16

# bgzip writes a header of this many bytes before each block, and an empty block at the end.
_BLOCK_GZIP_HEADER = 18
_BLOCK_GZIP_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")


def binary(path: pathlib.Path) -> io.BufferedIOBase:
  """Opens a file and decompresses it where its name or its first bytes say gzip or Zstandard.

  Use it within `faults_of`, which turns its errors into one line.

  Raises:
    EOFError: The file is compressed and incomplete.
  """
  files.check_content(path, may_be_empty=True)
  with path.open("rb") as file:
    begin = file.read(_BLOCK_GZIP_HEADER)

  name = path.name.lower()
  is_gzip = name.endswith((".gz", ".tgz", ".dz")) or begin.startswith(b"\x1f\x8b")
  is_zstandard = name.endswith(".zst") or begin.startswith(b"\x28\xb5\x2f\xfd")
  if not begin and (is_gzip or is_zstandard):
    raise EOFError("it is empty")

  if is_gzip:
    _check_end_of_block_gzip(path, begin)
    return gzip.open(path)
  if is_zstandard:
    return io.BufferedReader(_Zstandard(path))
  return path.open("rb")


def _check_end_of_block_gzip(path: pathlib.Path, begin: bytes) -> None:
  """Checks that a file that bgzip wrote is complete.

  It has many members, of which any number would be good gzip, and an empty last one.

  Raises:
    EOFError: The last member is not there.
  """
  # bgzip sets only the flag of an extra field (4), whose identifier is "BC".
  if begin[3:4] != b"\x04" or begin[12:14] != b"BC":
    return

  with path.open("rb") as file:
    file.seek(0, io.SEEK_END)
    file.seek(max(0, file.tell() - len(_BLOCK_GZIP_END)))
    if file.read() != _BLOCK_GZIP_END:
      raise EOFError("it ends without the last block of bgzip")


def opened(path: pathlib.Path) -> io.TextIOBase:
  """Opens a text in UTF-8, with or without a byte order mark; see `binary`."""
  return io.TextIOWrapper(cast(BinaryIO, binary(path)), encoding="utf-8-sig")


@contextlib.contextmanager
def faults_of(path: pathlib.Path) -> Iterator[None]:
  """Turns the errors of reading a file into a GatoError that names it."""
  try:
    yield
  except UnicodeDecodeError as e:
    raise GatoError(f"{path}: not UTF-8 text ({e.reason}); convert it, e.g. with iconv") from e
  except (OSError, EOFError, tarfile.TarError, zlib.error, zstandard.ZstdError) as e:
    raise GatoError(f"{path}: cannot be read ({e}); is it whole?") from e


def lines(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  """Yields the lines of a file that are not blank.

  Yields:
    ("file:number", line without its end).

  Raises:
    GatoError: The file is damaged.
  """
  with faults_of(path), opened(path) as file:
    for number, line in enumerate(file, 1):
      if line.strip():
        yield f"{path}:{number}", line.rstrip("\n")


def records(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields the objects of a .jsonl file.

  Yields:
    ("file:number", object).

  Raises:
    GatoError: The file is damaged, or a line is not a JSON object.
  """
  for where, line in lines(path):
    try:
      record = json.loads(line)
    except (ValueError, RecursionError) as e:
      # A RecursionError where brackets are nested thousands deep.
      raise GatoError(f"{where}: not JSON ({e})") from e

    if not isinstance(record, dict):
      raise GatoError(
        f"{where}: a line must hold one JSON object, this is a {type(record).__name__}"
      )
    yield where, record


class _Zstandard(io.RawIOBase):
  """Decompressed bytes of all frames of a file.

  A frame that is cut off is an error here; zstandard.open would end there in silence.
  """

  def __init__(self, path: pathlib.Path):
    self._file = path.open("rb")
    # Files of `zstd --long=31` need a window of 2 GiB.
    self._codec = zstandard.ZstdDecompressor(max_window_size=2**31)
    self._frame = self._codec.decompressobj()
    self._compressed = b""
    self._ready = memoryview(b"")

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any) -> int:
    # A chunk may hold a header only and decompress to nothing; 0 bytes would mean the end.
    while not self._ready:
      self._compressed = self._compressed or self._file.read(_CHUNK)
      if not self._compressed:
        if not self._frame.eof:
          raise EOFError("it ends inside a zstandard frame")
        return 0

      if self._frame.eof:
        self._frame = self._codec.decompressobj()
      self._ready = memoryview(self._frame.decompress(self._compressed))
      # What stands behind a frame belongs to the next one.
      self._compressed = self._frame.unused_data

    taken = self._ready[: len(buffer)]
    buffer[: len(taken)] = taken
    self._ready = self._ready[len(taken) :]
    return len(taken)

  def close(self) -> None:
    self._file.close()
    super().close()
