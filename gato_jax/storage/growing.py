"""Files that grow: appended to on this machine, uploaded whole to a bucket."""

import pathlib
import time

from gato_jax.storage import disk, files, paths

# Uploads of one object follow each other at least so far apart: stores limit their rate, and rows
# that a hard kill costs are those of a run that goes on from its last checkpoint.
UPLOAD_SECONDS = 10.0


class GrowingFile:
  """A file that grows at its end, from one process.

  On this machine every `append` is in the file when it returns. Objects of a bucket cannot grow:
  there the content is kept in memory and uploaded again, by `append` where the last upload is some
  seconds ago, and by `flush` and `close` in any case.
  """

  def __init__(self, path: pathlib.Path, content: bytes):
    """Replaces a file.

    Args:
      path: The file.
      content: Its content to begin with.

    Raises:
      OSError: The disk is full or read-only.
    """
    self._path = path
    self._is_remote = paths.is_remote(path)
    files.write(path, content)

    if self._is_remote:
      self._content = bytearray(content)
      self._uploaded = len(content)
      self._next_upload = 0.0
    else:
      self._file = path.open("ab", buffering=0)

  def append(self, content: bytes) -> None:
    """Adds to the end of the file."""
    if self._is_remote:
      self._content += content
      if time.monotonic() >= self._next_upload:
        self.flush()
      return

    with disk.writing(self._path):
      # An unbuffered file may write a part of it, e.g. on a disk that is almost full.
      while content:
        content = content[self._file.write(content) :]

  def flush(self) -> None:
    """Uploads what has not been uploaded yet."""
    if self._is_remote and self._uploaded < len(self._content):
      files.write(self._path, bytes(self._content))
      self._uploaded = len(self._content)
      self._next_upload = time.monotonic() + UPLOAD_SECONDS

  def close(self) -> None:
    """Uploads the rest and closes the file."""
    self.flush()
    if not self._is_remote:
      self._file.close()
