"""Errors of users, printed in one line."""

import contextlib
import sys
from collections.abc import Iterator
from typing import NoReturn


def fail(message: str) -> NoReturn:
  """Prints "error: <message>" and ends the process with status 1."""
  print(f"error: {message}", file=sys.stderr)
  sys.exit(1)


@contextlib.contextmanager
def config_errors() -> Iterator[None]:
  """Ends the process in one line where ml_collections refuses a key or a value of the config.

  An error that is raised by other code, such as a bug in a config file, keeps its traceback.
  """
  try:
    yield
  except (AttributeError, KeyError, OSError, TypeError, ValueError) as e:
    if "ml_collections" not in _file_that_raised(e):
      raise
    fail(f"config: {_one_line(e)}")


def _file_that_raised(error: BaseException) -> str:
  """Returns the path of the source file whose code raised `error`."""
  trace = error.__traceback__
  assert trace is not None
  while trace.tb_next:
    trace = trace.tb_next

  return trace.tb_frame.f_code.co_filename


def _one_line(error: BaseException) -> str:
  """Returns the error's message on one line, without nested quotes."""
  text = str(error.args[0] if error.args else error)
  # ml_collections puts the repr of one message into another, which escapes quotes and line breaks.
  text = text.replace("\\n", " ").replace("\\'", "").replace("'", "")

  return " ".join(text.split())
