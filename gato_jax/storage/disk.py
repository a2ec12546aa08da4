"""Turns errors of full, read-only or inaccessible disks into one line for the user.

Python's own file functions raise OSError. TensorFlow, TensorStore, Orbax and Riegeli write in C++
and raise errors of other types, whose text quotes the operating system.
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
_FORBIDDEN = dict.fromkeys(
  (errno.EACCES, errno.EPERM), f"make it accessible or choose another folder, {_KEPT}"
)
_ADVICE = _FULL | _FORBIDDEN
# An absolute path in the text of an error, without the punctuation around it.
_PATH = re.compile(r"(?<![\w./])/[^\s'\"`,;:()\[\]{}<>]+")


@contextlib.contextmanager
def writing(path: os.PathLike | str) -> Iterator[None]:
  """Adds `path` to an OSError inside that names no file, as those of write() and close()."""
  try:
    yield
  except OSError as e:
    if e.filename is None:
      e.filename = str(path)
    raise


def failure(error: BaseException, forbidden: bool = True) -> GatoError | None:
  """Returns an error for the user if a disk is the reason of `error`, else None.

  The errors that `error` was raised from are searched as well. A file that may not be opened is
  often expected, so it only counts as `error` itself or as its stated cause.

  Args:
    error: Any exception.
    forbidden: False to ignore files that may not be opened. It is False in a simulator's process,
      where others continue without that task.
  """
  seen: set[int] = set()
  queue = [(error, forbidden)]

  # A breadth-first search; the flag says whether a forbidden file counts.
  while queue:
    candidate, forbidden_counts = queue.pop(0)
    if id(candidate) in seen:
      continue
    seen.add(id(candidate))

    number, path = _find_errno(candidate)
    is_forbidden = number in _FORBIDDEN and forbidden_counts and path
    if number is not None and (number in _FULL or is_forbidden):
      message = os.strerror(number)
      return GatoError(
        f"{path or 'the disk'}: {message[0].lower()}{message[1:]}; {_ADVICE[number]}"
      )

    if isinstance(candidate, BaseExceptionGroup):
      queue += [(member, forbidden_counts) for member in candidate.exceptions]
    if candidate.__cause__:
      queue.append((candidate.__cause__, forbidden_counts))
    if candidate.__context__:
      queue.append((candidate.__context__, False))

  return None


def _find_errno(error: BaseException) -> tuple[int | None, str]:
  """Returns the errno of an error or None, and the path that it names or ""."""
  if isinstance(error, OSError) and error.errno is not None:
    # A copy names the file that it reads first and the one that it writes second.
    return error.errno, str(error.filename2 or error.filename or "")
  if isinstance(error, GatoError) or not isinstance(error, Exception):
    return None, ""

  # Errors of C++ libraries quote the operating system's message.
  text = str(error)
  number = next((number for number in _ADVICE if os.strerror(number) in text), None)
  path = _PATH.search(text) if number else None
  return number, path[0] if path else ""
