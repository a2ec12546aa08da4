"""Progress bars: on a terminal they are drawn in place, in a log they are a line now and then."""

import sys
import time
from typing import Any, TextIO

import tqdm

# Between two lines of a bar in a log.
LOG_SECONDS = 30.0


class Bar(tqdm.tqdm):
  """tqdm's bar. In a file, which keeps every state of it, one state in LOG_SECONDS is a line.

  The first and the last state are written, too, but for bars that leave nothing behind.
  """

  def __init__(self, *arguments: Any, file: TextIO | None = None, **settings: Any):
    file = file or sys.stderr
    self._in_place = file.isatty()
    self._next_line = 0.0
    super().__init__(*arguments, file=file, **{"dynamic_ncols": True, **settings})

  def display(self, msg: str | None = None, pos: int | None = None) -> bool | None:
    """Shows the bar's state, or `msg` instead of it."""
    if self._in_place:
      return super().display(msg, pos)

    # An empty message erases the bar.
    if msg != "" and time.monotonic() >= self._next_line:
      self._next_line = time.monotonic() + LOG_SECONDS
      # A bar that ends, which is when it is disabled, adds the end of the line itself.
      end = "" if self.disable else "\n"
      self.fp.write(f"{msg or self}{end}")
      self.fp.flush()
    return None

  def clear(self, nolock: bool = False) -> None:
    """Erases the bar, so that something else can be written."""
    if self._in_place:
      super().clear(nolock)

  def close(self) -> None:
    """Ends the bar, and leaves its last state behind if it was made to."""
    self._next_line = 0.0
    super().close()
