"""Keeps Orbax from printing tracebacks about errors that it also raises."""

import asyncio
import logging
import weakref
from typing import Any


class _FinishingLoop(asyncio.SelectorEventLoop):
  """An event loop that lets its tasks finish before it closes.

  Orbax reads and writes many arrays concurrently, in a loop that it closes at the first error. The
  remaining operations then report to a closed loop, each with a traceback on standard error, about
  an error that Orbax raises anyway.
  """

  def __init__(self, *arguments: Any):
    super().__init__(*arguments)
    self._tasks: weakref.WeakSet[asyncio.Task] = weakref.WeakSet()
    self.set_task_factory(self._create_task)

  def _create_task(
    self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any
  ) -> asyncio.Task:
    task = asyncio.Task(coroutine, loop=loop, **options)
    self._tasks.add(task)
    return task

  def close(self) -> None:
    unfinished = [task for task in self._tasks if not task.done()]

    if unfinished and not self.is_closed() and not self.is_running():
      self.run_until_complete(asyncio.gather(*unfinished, return_exceptions=True))
    super().close()


class _FinishingLoopPolicy(asyncio.DefaultEventLoopPolicy):
  """Creates a `_FinishingLoop` in every thread: Orbax has several."""

  _loop_factory = _FinishingLoop


def _is_not_from_orbax(record: logging.LogRecord) -> bool:
  """Returns True for log records of other packages than Orbax.

  Orbax's threads log the traceback of an error that is also raised where it is waited for, and it
  warns about files that our checkpoints never have.
  """
  return "/orbax/" not in record.pathname


def silence() -> None:
  """Takes effect for all threads that begin from now on."""
  asyncio.set_event_loop_policy(_FinishingLoopPolicy())
  logging.getLogger("absl").addFilter(_is_not_from_orbax)
