"""Files that appear whole: a reader, or a process that is killed, never sees half of one.

`check_content` is for files that others wrote, which are not always so.
"""

import json
import os
import pathlib
import threading
from typing import Any

from gato_jax import disk
from gato_jax.errors import GatoError

# How the file begins that a large-file store leaves in place of a file that was not fetched.
_POINTERS = (b"version https://git-lfs.", b"version https://hawser.", b"/annex/objects/")


def write(path: pathlib.Path, content: str | bytes) -> None:
  """Replaces `path` in one step; creates its directory.

  The content is on the disk before the name points to it. Processes and threads that write the same file at once
  do not disturb each other: each writes a temporary file of its own, and the last one to rename wins.

  Raises:
    OSError: the disk is full or read-only; what was at `path` is still there, and the temporary file is gone.
  """
  path = pathlib.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")

  try:
    with disk.writing(path), temporary.open("wb") as file:
      file.write(content.encode() if isinstance(content, str) else content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise


def write_json(path: pathlib.Path, value: Any, indent: int | None = 1) -> None:
  """Replaces `path` with `value` as JSON and a newline; raises as `write` does."""
  write(path, json.dumps(value, indent=indent) + "\n")


def check_content(path: pathlib.Path, may_be_empty: bool = False) -> None:
  """Checks that a data file is there and holds its content.

  Raises:
    GatoError: there is no such file, it is empty, or it only points to its content in a large-file store.
  """
  path = pathlib.Path(path)

  try:
    with path.open("rb") as file:
      begin = file.read(max(map(len, _POINTERS)))
  except OSError as e:
    raise GatoError(f"{path}: cannot be read ({e.strerror}); get it again") from e

  if begin.startswith(_POINTERS):
    raise GatoError(f"{path}: only points to its content in Git LFS or git-annex; fetch it, e.g. with git lfs pull")
  if not begin and not may_be_empty:
    raise GatoError(f"{path}: the file is empty; get it again")
