"""The one thread that calls the engine. What arrived while the last batch was computed makes up the next one."""

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from gato_jax.serve.metrics import Metrics


class Engine(Protocol):
  """What is served: gato_jax.agent's engine. All but `pack` is called from one thread."""

  def compile(self, on_shape: Callable[[str], None]) -> None: ...

  def pack(self, task: str, observation: Mapping[str, Any]) -> Any: ...

  def start(self, slot: int, task: str, seed: int) -> None: ...

  def act(self, packed: Mapping[int, Any]) -> Mapping[int, np.ndarray]: ...


class Stopped(Exception):
  """The batcher ended before the step was computed."""


class Batcher:
  """Compiles the engine in its thread, then batches. To be used from a running event loop.

  A slot is in at most one waiting step: sessions.Seats gives a slot to one session, which waits for its reply.
  """

  def __init__(self, engine: Engine, metrics: Metrics, on_shape: Callable[[str], None]):
    self._engine, self._metrics, self._on_shape = engine, metrics, on_shape
    self._loop = asyncio.get_running_loop()
    self._changed = threading.Condition()
    self._starts: list[tuple[int, str, int]] = []
    self._steps: list[tuple[dict[int, Any], asyncio.Future]] = []
    self._stop = False
    self.ready: asyncio.Future[None] = self._loop.create_future()
    self.ended: asyncio.Future[None] = self._loop.create_future()  # an exception here is the engine's
    self._thread = threading.Thread(target=self._run, name="inference")
    self._thread.start()

  def start(self, slot: int, task: str, seed: int) -> None:
    """A new episode in `slot`, ahead of its next step."""
    with self._changed:
      self._starts.append((slot, task, seed))

  async def act(self, packed: dict[int, Any]) -> Mapping[int, np.ndarray]:
    """Slot -> action for slots of one client, computed in one batch with whoever else waits. Stopped at the end."""
    future = self._loop.create_future()
    with self._changed:
      if self._stop:
        raise Stopped
      self._steps.append((packed, future))
      self._changed.notify()
    return await future

  async def stop(self) -> None:
    """Ends the thread after the batch that it computes; steps that wait raise Stopped. Compiling ends at a shape."""
    with self._changed:
      self._stop = True
      self._changed.notify()
    await asyncio.wait([self.ended])
    self._thread.join()

  def _run(self) -> None:
    error = None
    try:
      self._engine.compile(self._compiled)
      self._loop.call_soon_threadsafe(self.ready.set_result, None)
      while self._batch():
        pass
    except Stopped:
      pass
    except BaseException as e:  # carried to the event loop, where it ends the server
      error = e
    with self._changed:
      self._stop, left, self._steps = True, self._steps, []
    self._loop.call_soon_threadsafe(self._end, error, [future for _, future in left])

  def _compiled(self, text: str) -> None:
    if self._stop:
      raise Stopped
    self._on_shape(text)

  def _batch(self) -> bool:
    """Computes what waits; False when it is time to stop."""
    with self._changed:
      self._changed.wait_for(lambda: self._steps or self._stop)
      if self._stop:
        return False
      starts, self._starts = self._starts, []
      steps, self._steps = self._steps, []
    batch = {slot: packed for part, _ in steps for slot, packed in part.items()}
    try:
      for slot, task, seed in starts:
        self._engine.start(slot, task, seed)
      began = time.perf_counter()
      actions = self._engine.act(batch)
    except BaseException:
      self._loop.call_soon_threadsafe(self._cancel, [future for _, future in steps])
      raise
    self._metrics.batch_seconds.observe(time.perf_counter() - began)
    self._metrics.batch_size.observe(len(batch))
    self._loop.call_soon_threadsafe(self._deliver, steps, actions)
    return True

  def _deliver(self, steps: list[tuple[dict[int, Any], asyncio.Future]], actions: Mapping[int, np.ndarray]) -> None:
    for part, future in steps:
      if not future.done():
        future.set_result({slot: actions[slot] for slot in part})

  def _cancel(self, futures: list[asyncio.Future]) -> None:
    for future in futures:
      if not future.done():
        future.set_exception(Stopped())

  def _end(self, error: BaseException | None, left: list[asyncio.Future]) -> None:
    self._cancel(left)
    if error:
      self.ended.set_exception(error)
    else:
      self.ended.set_result(None)
