"""Files that appear whole: a reader, or a process that is killed, never sees half of one."""

import json
import os
import pathlib
import threading
from typing import Any

from gato_jax import disk


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
