"""Atomic file writes: no reader and no killed process leaves or sees half a file.

`check_content` is for files of others, which may be incomplete.
"""

import json
import os
import pathlib
import threading
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.storage import disk, paths

# First bytes of the file that a large-file store leaves in place of one that was not fetched.
_POINTERS = (b"version https://git-lfs.", b"version https://hawser.", b"/annex/objects/")


def write(path: pathlib.Path, content: str | bytes) -> None:
  """Replaces a file or an object of a bucket atomically; creates its directory.

  The content is on the disk before the name points to it. Processes and threads may write the same
  file at the same time: each writes its own temporary file, and the last one to rename it wins.

  Raises:
    OSError: The disk is full or read-only. What was at `path` is still there, and the temporary
      file is gone.
    GatoError: The bucket cannot be reached.
  """
  path = paths.path(path)
  content = content.encode() if isinstance(content, str) else content
  if paths.is_remote(path):
    # An object appears when its upload is complete.
    with paths.reachable(str(path)):
      path.write_bytes(content)
    return

  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")

  try:
    with disk.writing(path), temporary.open("wb") as file:
      file.write(content)
      file.flush()
      os.fsync(file.fileno())
    os.replace(temporary, path)
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise


def write_json(path: pathlib.Path, value: Any, indent: int | None = 1) -> None:
  """Replaces `path` with `value` as JSON and a newline; raises as `write` does."""
  write(path, json.dumps(value, indent=indent) + "\n")


def read_json(path: pathlib.Path, remedy: str) -> Any:
  """Returns the content of a JSON file.

  Args:
    path: The file.
    remedy: Ends the message of the error, e.g. "delete it and train again".

  Raises:
    GatoError: The file is not JSON.
  """
  try:
    return json.loads(paths.path(path).read_text())
  except json.JSONDecodeError as e:
    raise GatoError(f"{path}: not JSON ({e}); {remedy}") from e


def check_content(path: pathlib.Path, may_be_empty: bool = False) -> None:
  """Checks that a data file exists and holds its content.

  Raises:
    GatoError: There is no such file, it is empty, or it only points to its content in a large-file
      store.
  """
  path = pathlib.Path(path)

  try:
    with path.open("rb") as file:
      begin = file.read(max(map(len, _POINTERS)))
  except OSError as e:
    raise GatoError(f"{path}: cannot be read ({e.strerror}); get it again") from e

  if begin.startswith(_POINTERS):
    raise GatoError(
      f"{path}: only points to its content in Git LFS or git-annex; fetch it, e.g. with git lfs "
      "pull"
    )
  if not begin and not may_be_empty:
    raise GatoError(f"{path}: the file is empty; get it again")
