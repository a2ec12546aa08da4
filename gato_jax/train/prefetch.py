"""Reads the next batch while the current one trains."""

import contextlib
import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any

from gato_jax.errors import GatoError


@contextlib.contextmanager
def prefetch(iterator: Iterator[Any]) -> Iterator[Iterator[Any]]:
  """Reads an endless iterator ahead by one element, in a thread.

  Errors of the iterator are raised in the consumer. A generator is closed in the thread that runs
  it, so nothing of it is left when the context ends.

  Yields:
    An iterator over the same elements.
  """
  ready: queue.Queue = queue.Queue(maxsize=1)
  stop = threading.Event()

  def put(item: Any) -> None:
    # A timeout, because nobody empties the queue any more after `stop`.
    while not stop.is_set():
      with contextlib.suppress(queue.Full):
        return ready.put(item, timeout=0.1)

  def read() -> None:
    try:
      for element in iterator:
        put((element, None))
        if stop.is_set():
          return
      put((None, GatoError("the input ended before the run; its iterator must be endless")))
    except Exception as e:
      # The consumer raises it.
      put((None, e))
    finally:
      if isinstance(iterator, Generator):
        iterator.close()

  def elements() -> Iterator[Any]:
    while True:
      element, error = ready.get()
      if error is not None:
        raise error
      yield element

  thread = threading.Thread(target=read, name="prefetch", daemon=True)
  thread.start()
  try:
    yield elements()
  finally:
    stop.set()
    thread.join()
