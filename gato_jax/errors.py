"""The exception that means "the user can fix this", and helpers for one-line messages.

A verb in `experiments/` prints a GatoError as one line and exits with status 1. Any other exception
is a bug of ours and keeps its traceback.
"""

import difflib
import sysconfig
import traceback
from collections.abc import Iterable


class GatoError(Exception):
  """Bad input. The message is one line: what is wrong, where, and what to do."""


class MissingData(GatoError):
  """A task's data is not on this machine; the message says how to get it.

  A mixture may go on without the task.
  """


def one_line(error: BaseException) -> str:
  """Returns the error's message without line breaks."""
  return " ".join(str(error).split())


def describe(error: BaseException) -> str:
  """Returns "ValueError: message (file:line)" for an error in code that a user wrote.

  The line is the innermost one outside the standard library and the installed packages.
  """
  # The file that cannot be parsed has no stack frame; the error itself names it.
  if isinstance(error, SyntaxError) and error.filename:
    return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"

  installed = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
  frames = traceback.extract_tb(error.__traceback__)

  # Code of the import system has file names that begin with "<frozen".
  user_frames = [
    frame for frame in frames if not frame.filename.startswith((*installed, "<frozen"))
  ]

  location = ""
  if user_frames:
    location = f" ({user_frames[-1].filename}:{user_frames[-1].lineno})"
  return f"{type(error).__name__}: {one_line(error)}{location}"


def check_name(name: str, known: Iterable[str], noun: str) -> None:
  """Raises GatoError with the nearest right name when `name` is not one of `known`.

  Args:
    name: The name that a user gave.
    known: The names that exist.
    noun: What is named, for the message, e.g. "task of domain atari".
  """
  known = list(known)
  if name in known:
    return

  # A cutoff of 0 always finds the nearest name, however far it is.
  nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
  hint = f"did you mean {nearest[0]!r}?" if nearest else "there is none."
  raise GatoError(f"unknown {noun}: {name!r}; {hint}")
