"""The one exception that means "the user can fix this".

A verb in `experiments/` prints it as one line and exits with status 1; any other exception is our bug and
keeps its traceback.
"""

import sysconfig
import traceback


class GatoError(Exception):
  """Bad input. The message is one line: what is wrong, where, and what to do."""


class MissingData(GatoError):
  """A task's data is not on this machine; the message says how to get it. A mixture may go on without the task."""


def one_line(error: BaseException) -> str:
  """The error's message without line breaks."""
  return " ".join(str(error).split())


def describe(error: BaseException) -> str:
  """Returns "ValueError: message (file:line)" for an error of code that a user wrote, such as a simulator.

  The line is the innermost one outside the standard library and the installed packages.
  """
  if isinstance(error, SyntaxError) and error.filename:  # the file that cannot be read has no frame
    return f"{type(error).__name__}: {error.msg} ({error.filename}:{error.lineno})"

  installed = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))
  frames = traceback.extract_tb(error.__traceback__)
  own = [frame for frame in frames if not frame.filename.startswith((*installed, "<frozen"))]
  where = f" ({own[-1].filename}:{own[-1].lineno})" if own else ""
  return f"{type(error).__name__}: {one_line(error)}{where}"
