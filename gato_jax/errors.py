"""The one exception that means "the user can fix this".

A verb in `experiments/` prints it as one line and exits with status 1; any other exception is our bug and
keeps its traceback.
"""


class GatoError(Exception):
  """Bad input. The message is one line: what is wrong, where, and what to do."""


class MissingData(GatoError):
  """A task's data is not on this machine; the message says how to get it. A mixture may go on without the task."""
