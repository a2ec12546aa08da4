"""Where a training interval's seconds go: waiting for data, the devices' work, the rest."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax


class Clock:
  """Times the steps between two rows of the log; close() ends its thread.

  A step's device time runs from the later of its dispatch and the end of the step before to its own end. A thread of
  its own waits for that end: the training thread may then be waiting for data.
  """

  def __init__(self):
    self._steps: queue.SimpleQueue = queue.SimpleQueue()
    self._thread = threading.Thread(target=self._watch, name="clock", daemon=True)
    self._lock = threading.Lock()
    self._device = self._waited = 0.0
    self._mark = time.perf_counter()
    self._thread.start()

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Around waiting for data."""
    began = time.perf_counter()
    yield
    self._waited += time.perf_counter() - began

  def dispatched(self, measured: Any) -> None:
    """A step was handed to the devices; `measured`: arrays that are ready when it is done."""
    self._steps.put((time.perf_counter(), measured))

  def _watch(self) -> None:
    end = 0.0
    while (item := self._steps.get()) is not None:
      began, measured = item
      jax.block_until_ready(measured)
      began, end = max(began, end), time.perf_counter()
      with self._lock:
        self._device += end - began

  def take(self, steps: int) -> dict[str, float]:
    """Of the interval that ends now, of so many steps; its last step may be counted in the next one."""
    now = time.perf_counter()
    seconds = now - self._mark
    with self._lock:
      device, self._device = self._device, 0.0
    waited, self._waited, self._mark = self._waited, 0.0, now
    return {
      "interval_seconds": seconds,
      "step_seconds": seconds / steps,
      "device_seconds": device / steps,
      "data_wait": waited / seconds,
    }

  def close(self) -> None:
    self._steps.put(None)
    self._thread.join()
