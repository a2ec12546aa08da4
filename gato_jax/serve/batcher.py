"""Batches the steps of all sessions in the one thread that calls the engine.

Steps that arrive while one batch is computed form the next one.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from gato_jax.serve.metrics import Metrics


class Engine(Protocol):
  """A policy with a memory per slot (gato_jax.agent.engine).

  Only `pack` may be called from several threads.
  """

  def compile(self, on_shape: Callable[[str], None]) -> None:
    """Compiles for every batch shape; calls `on_shape` with a description before each."""

  def pack(self, task: str, observation: Mapping[str, Any]) -> Any:
    """Checks an observation and returns the input of `act`; raises GatoError if it is wrong."""

  def start(self, slot: int, task: str, seed: int, group: str = "") -> None:
    """Starts an episode in a slot, with an empty memory; its prompt is of its group."""

  def act(self, packed: Mapping[int, Any]) -> Mapping[int, np.ndarray]:
    """Returns the action of each slot."""
    ...


class Stopped(Exception):
  """The batcher ended before a step was computed."""


class Batcher:
  """Compiles an engine in its own thread, then computes batches there.

  It is used from a running event loop. A slot is in one waiting step at most: SessionPool gives a
  slot to one session, whose client waits for its reply.

  Attributes:
    ready: Is done when everything is compiled.
    ended: Is done when the thread has ended; has the exception of the engine if there was one.
  """

  def __init__(self, engine: Engine, metrics: Metrics, on_shape: Callable[[str], None]):
    """Starts the thread.

    Args:
      engine: Is called from that thread only, except for `pack`.
      metrics: Counts batches.
      on_shape: Called with a description of each shape before it is compiled, in other threads.
    """
    self._engine = engine
    self._metrics = metrics
    self._on_shape = on_shape
    self._loop = asyncio.get_running_loop()
    self.ready: asyncio.Future[None] = self._loop.create_future()
    self.ended: asyncio.Future[None] = self._loop.create_future()

    # The condition guards the three fields below.
    self._changed = threading.Condition()
    self._starts: list[tuple[int, str, int, str]] = []
    self._steps: list[tuple[dict[int, Any], asyncio.Future]] = []
    self._stop = False

    self._thread = threading.Thread(target=self._run, name="inference")
    self._thread.start()

  def start(self, slot: int, task: str, seed: int, group: str = "") -> None:
    """Starts an episode in `slot` before its next step is computed."""
    with self._changed:
      self._starts.append((slot, task, seed, group))

  async def act(self, packed: dict[int, Any]) -> Mapping[int, np.ndarray]:
    """Computes the actions for slots of one client, batched with other waiting clients.

    Args:
      packed: Slot -> output of the engine's `pack`.

    Returns:
      Slot -> action.

    Raises:
      Stopped: The batcher ends.
    """
    future = self._loop.create_future()
    with self._changed:
      if self._stop:
        raise Stopped
      self._steps.append((packed, future))
      self._changed.notify()

    return await future

  async def stop(self) -> None:
    """Ends the thread after the current batch, or before the next shape is compiled.

    Steps that wait raise Stopped.
    """
    with self._changed:
      self._stop = True
      self._changed.notify()

    await asyncio.wait([self.ended])
    self._thread.join()

  def _run(self) -> None:
    """Compiles and computes batches, in the batcher's thread."""
    error = None
    try:
      self._engine.compile(self._before_shape)
      self._loop.call_soon_threadsafe(self.ready.set_result, None)
      while self._compute_batch():
        pass
    except Stopped:
      pass
    except BaseException as e:
      # The event loop receives it, where it ends the server.
      error = e

    # No step may be added after this point, as nobody would compute it.
    with self._changed:
      self._stop = True
      unanswered = [future for _, future in self._steps]
      self._steps = []
    self._loop.call_soon_threadsafe(self._end, error, unanswered)

  def _before_shape(self, description: str) -> None:
    """Ends the compilation between two shapes if the batcher stops."""
    if self._stop:
      raise Stopped
    self._on_shape(description)

  def _compute_batch(self) -> bool:
    """Waits for steps and computes them; returns False when the batcher stops."""
    with self._changed:
      self._changed.wait_for(lambda: self._steps or self._stop)
      if self._stop:
        return False
      starts, self._starts = self._starts, []
      steps, self._steps = self._steps, []

    # Clients never share a slot, so their steps form one mapping.
    batch = {}
    for packed, _ in steps:
      batch.update(packed)

    try:
      for slot, task, seed, group in starts:
        self._engine.start(slot, task, seed, group=group)
      start_time = time.perf_counter()
      actions = self._engine.act(batch)
    except BaseException:
      self._loop.call_soon_threadsafe(self._cancel, [future for _, future in steps])
      raise

    self._metrics.batch_seconds.observe(time.perf_counter() - start_time)
    self._metrics.batch_size.observe(len(batch))
    self._loop.call_soon_threadsafe(self._deliver, steps, actions)
    return True

  # The methods below run in the event loop. A future is done already if its client is gone.

  def _deliver(
    self, steps: list[tuple[dict[int, Any], asyncio.Future]], actions: Mapping[int, np.ndarray]
  ) -> None:
    for packed, future in steps:
      if not future.done():
        future.set_result({slot: actions[slot] for slot in packed})

  def _cancel(self, futures: list[asyncio.Future]) -> None:
    for future in futures:
      if not future.done():
        future.set_exception(Stopped())

  def _end(self, error: BaseException | None, unanswered: list[asyncio.Future]) -> None:
    self._cancel(unanswered)
    if error:
      self.ended.set_exception(error)
    else:
      self.ended.set_result(None)
