"""Measures the time of training steps: waiting for data, working on the devices, the rest."""

import contextlib
import queue
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax


class Clock:
  """Times the steps between two rows of the log.

  The device time of a step runs from its dispatch, or from the end of the previous step where that
  is later, to its own end. A thread waits for that end, because the training thread may be waiting
  for data at that time.
  """

  def __init__(self) -> None:
    self._dispatched: queue.SimpleQueue = queue.SimpleQueue()
    self._thread = threading.Thread(target=self._watch, name="clock", daemon=True)
    self._lock = threading.Lock()
    self._device_seconds = 0.0  # guarded by the lock; the others belong to the training thread
    self._waiting_seconds = 0.0
    self._interval_start = time.perf_counter()
    self._thread.start()

  @contextlib.contextmanager
  def waiting(self) -> Iterator[None]:
    """Counts the time inside as waiting for data."""
    start = time.perf_counter()
    yield
    self._waiting_seconds += time.perf_counter() - start

  def dispatched(self, measured: Any) -> None:
    """Records that a step was handed to the devices.

    Args:
      measured: Arrays that are ready when the step is done.
    """
    self._dispatched.put((time.perf_counter(), measured))

  def _watch(self) -> None:
    """Waits for the end of each step, in the clock's thread; None ends it."""
    end = 0.0
    while (item := self._dispatched.get()) is not None:
      start, measured = item
      jax.block_until_ready(measured)

      # Devices work on one step at a time: a step that was dispatched early starts when the
      # previous one ends.
      start, end = max(start, end), time.perf_counter()
      with self._lock:
        self._device_seconds += end - start

  def take(self, steps: int) -> dict[str, float]:
    """Returns the times of the interval that ends now, and starts the next one.

    The last step of an interval may be counted in the next one.

    Args:
      steps: Number of steps in the interval.

    Returns:
      interval_seconds, step_seconds and device_seconds (per step), and data_wait, the share of the
      interval that was spent waiting for data.
    """
    now = time.perf_counter()
    interval_seconds = now - self._interval_start
    waiting_seconds = self._waiting_seconds
    with self._lock:
      device_seconds = self._device_seconds
      self._device_seconds = 0.0

    self._waiting_seconds = 0.0
    self._interval_start = now

    return {
      "interval_seconds": interval_seconds,
      "step_seconds": interval_seconds / steps,
      "device_seconds": device_seconds / steps,
      "data_wait": waiting_seconds / interval_seconds,
    }

  def close(self) -> None:
    """Waits for the dispatched steps and ends the thread."""
    self._dispatched.put(None)
    self._thread.join()
