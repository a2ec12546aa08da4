"""Disks that are full, read-only or closed to us: one line for the user, whichever library met it.

Python's own file functions raise OSError. TensorFlow, TensorStore, Orbax and Riegeli write in C++ and raise errors of
other types, whose text quotes the operating system.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterator

from gato_jax.errors import GatoError

_KEPT = "and run the same command again; what was complete is still there"
_FULL = {
  errno.ENOSPC: f"make room {_KEPT}",
  errno.EDQUOT: f"make room, or have the quota raised, {_KEPT}",
  errno.EROFS: f"make it writable or choose another folder, {_KEPT}",
}
_FORBIDDEN = dict.fromkeys((errno.EACCES, errno.EPERM), f"make it accessible or choose another folder, {_KEPT}")
_ADVICE = _FULL | _FORBIDDEN
# An absolute path in the text of an error, without the punctuation around it.
_PATH = re.compile(r"(?<![\w./])/[^\s'\"`,;:()\[\]{}<>]+")


@contextlib.contextmanager
def writing(path: os.PathLike | str) -> Iterator[None]:
  """Inside, an OSError that names no file names `path`: Python's write(), flush() and close() leave it out."""
  try:
    yield
  except OSError as e:
    if e.filename is None:
      e.filename = str(path)
    raise


def failure(error: BaseException, forbidden: bool = True) -> GatoError | None:
  """Returns what to tell the user where a disk is the reason of `error`; None where it is not.

  The errors that `error` was raised from are searched as well. A file that we may not open, which is often foreseen,
  only counts where it is `error` itself or its stated cause.

  Args:
    forbidden: whether it counts at all. In a simulator's process it does not: others go on without that task.
  """
  seen: set[int] = set()
  queue = [(error, forbidden)]
  while queue:
    one, is_cause = queue.pop(0)
    if id(one) in seen:
      continue
    seen.add(id(one))

    number, path = _reason(one)
    if number in _FULL or (number in _FORBIDDEN and is_cause and path):
      said = os.strerror(number)
      return GatoError(f"{path or 'the disk'}: {said[0].lower()}{said[1:]}; {_ADVICE[number]}")

    if isinstance(one, BaseExceptionGroup):
      queue += [(inner, is_cause) for inner in one.exceptions]
    queue += [(one.__cause__, is_cause)] if one.__cause__ else []
    queue += [(one.__context__, False)] if one.__context__ else []
  return None


def _reason(error: BaseException) -> tuple[int | None, str]:
  """Returns the errno that an error is about, and the path that it names or ""."""
  if isinstance(error, OSError) and error.errno is not None:
    return error.errno, str(error.filename or "")
  if isinstance(error, GatoError) or not isinstance(error, Exception):
    return None, ""
  text = str(error)
  number = next((number for number in _ADVICE if os.strerror(number) in text), None)
  path = _PATH.search(text) if number else None
  return number, path[0] if path else ""
