"""Text files line by line, plain or compressed by gzip or zstandard; nothing is read as a whole."""

import contextlib
import gzip
import io
import json
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any

import zstandard

from gato_jax.errors import GatoError

COMPRESSED = ("", ".gz", ".zst")
_CHUNK = 2**16


def opened(path: pathlib.Path) -> io.TextIOBase:
  """UTF-8, with or without a byte order mark."""
  packed = path.suffix.lower()
  if packed == ".gz":
    file = gzip.open(path)
  elif packed == ".zst":
    file = io.BufferedReader(_Zstandard(path))
  else:
    file = path.open("rb")
  return io.TextIOWrapper(file, encoding="utf-8-sig")


@contextlib.contextmanager
def faults_of(path: pathlib.Path) -> Iterator[None]:
  """What goes wrong when a file is read becomes a GatoError that names it."""
  try:
    yield
  except UnicodeDecodeError as e:
    raise GatoError(f"{path}: not UTF-8 text ({e.reason}); convert it, e.g. with iconv") from e
  except (OSError, EOFError, zlib.error, zstandard.ZstdError) as e:
    raise GatoError(f"{path}: cannot be read ({e}); is it whole?") from e


def lines(path: pathlib.Path) -> Iterator[tuple[str, str]]:
  """("file:number", line without its end) of the lines that are not blank; GatoError where the file is damaged."""
  with faults_of(path), opened(path) as file:
    for number, line in enumerate(file, 1):
      if line.strip():
        yield f"{path}:{number}", line.rstrip("\n")


def records(path: pathlib.Path) -> Iterator[tuple[str, dict[str, Any]]]:
  """("file:number", object) of the lines of a .jsonl file; GatoError at a line that is none."""
  for where, line in lines(path):
    try:
      record = json.loads(line)
    except (ValueError, RecursionError) as e:
      raise GatoError(f"{where}: not JSON ({e})") from e
    if not isinstance(record, dict):
      raise GatoError(f"{where}: a line must hold one JSON object, this is a {type(record).__name__}")
    yield where, record


class _Zstandard(io.RawIOBase):
  """Decompressed bytes of all frames; one that is cut off is an error, which zstandard.open passes over in silence."""

  def __init__(self, path: pathlib.Path):
    self._file = path.open("rb")
    self._codec = zstandard.ZstdDecompressor(max_window_size=2**31)
    self._frame = self._codec.decompressobj()
    self._compressed = b""
    self._ready = memoryview(b"")

  def readable(self) -> bool:
    return True

  def readinto(self, buffer: Any) -> int:
    while not self._ready:
      self._compressed = self._compressed or self._file.read(_CHUNK)
      if not self._compressed:
        if not self._frame.eof:
          raise EOFError("it ends inside a zstandard frame")
        return 0
      if self._frame.eof:
        self._frame = self._codec.decompressobj()
      self._ready = memoryview(self._frame.decompress(self._compressed))
      self._compressed = self._frame.unused_data
    taken = self._ready[: len(buffer)]
    buffer[: len(taken)] = taken
    self._ready = self._ready[len(taken) :]
    return len(taken)

  def close(self) -> None:
    self._file.close()
    super().close()
