"""Watches jobs: waits for their end, and prints their logs as they grow."""

import re
import time
from collections.abc import Callable, Iterator

from launch.jobs import Backend, JobState

# Lines that are read at each look; a job that prints more between two looks loses some.
_LINES = 200

# A progress bar: "train:  47%|####7   | 8401/18000 [02:05<1:38:40, ...]".
_BAR = re.compile(r"^(.*?)\s*\d+%\|.*\|")


def states(
  backend: Backend, handle: str, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[JobState]:
  """Yields the state of a job whenever it has changed, until it is over.

  Args:
    backend: Where it runs.
    handle: The backend's name for it.
    seconds: Between two looks.
    sleep: Waits so long.
  """
  previous = None
  while True:
    state = backend.state(handle)
    if state != previous:
      yield state
    if state.over:
      return
    previous = state
    sleep(seconds)


def log_lines(
  backend: Backend, handle: str, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> Iterator[str]:
  """Yields what a job prints, the end of what it has printed first, until it is over.

  Of a progress bar that was drawn again and again only the newest line is shown.
  """
  shown: list[str] = []
  while True:
    # Asked before the logs are read: what is printed in between is read by the next look.
    is_over = backend.state(handle).over

    now = folded(backend.logs(handle, _LINES).splitlines())
    yield from new_lines(shown, now)
    shown = now
    if is_over:
      return
    sleep(seconds)


def folded(lines: list[str]) -> list[str]:
  """Drops a progress bar's lines but the last of those that follow one another."""
  kept: list[str] = []
  for line in lines:
    bar = _BAR.match(line)
    before = _BAR.match(kept[-1]) if kept else None
    if bar and before and bar[1] == before[1]:
      kept.pop()
    kept.append(line)
  return kept


def new_lines(before: list[str], now: list[str]) -> list[str]:
  """Returns the lines of `now` behind those that it has in common with the end of `before`."""
  # The last line may be a bar that has moved on, so that the others are compared alone, too.
  for shown in (before, before[:-1]):
    for start in range(len(shown)):
      common = len(shown) - start
      if shown[start:] == now[:common]:
        return now[common:]
  return now
