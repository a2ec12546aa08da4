"""A real server in a thread of the test's process, with a real socket.

Its engine is real, too, unless a test passes another.
"""

import asyncio
import contextlib
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import websockets.sync.client

import rlds_builders
from gato_jax import agent
from gato_jax.domain import environment_task_spec
from gato_jax.env import loop
from gato_jax.serve import client, front, server

DOMAIN = rlds_builders.get("dummy")
SPECS = {
  f"dummy.{task}": environment_task_spec(DOMAIN, task, DOMAIN.make_environment(task))
  for task in DOMAIN.tasks
}
SLOTS = 4
_PATIENCE = 300.0  # seconds; for machines that are busy with other things


def engine(workdir, prompt="start"):
  """A compiled engine; servers may use it one after the other, not at the same time."""
  compiled = agent.Policy(workdir).engine(list(SPECS), SLOTS, agent.ActConfig(prompt=prompt))
  compiled.compile()
  return compiled


class Served:
  """A running server.

  Attributes:
    url: Its address, ws:// or wss://.
    server: The server object, whose attributes tests may read.
    said: Lines that it logged.
    error: Exception that ended it, or None.
  """

  def __init__(self, engine, address: front.Address, drain_seconds: float, limits: dict):
    self.said: list[str] = []
    self.error: BaseException | None = None
    self._listening, self._ready = threading.Event(), threading.Event()
    self._thread = threading.Thread(target=self._run, args=(engine, address, drain_seconds, limits))
    self._thread.start()

    assert self._listening.wait(_PATIENCE), self.error

    self.url = f"{address.scheme}://127.0.0.1:{self.server.port}"

  def _run(self, engine, address, drain_seconds, limits):
    def say(text):
      self.said.append(text)
      if "listening" in text:
        self._listening.set()
      if text == "ready":
        self._ready.set()

    async def main():
      self._loop = asyncio.get_running_loop()
      config = server.ServeConfig(**{"sessions": SLOTS, **limits})
      self.server = server.Server(engine, SPECS, step=5, config=config, address=address, report=say)
      await self.server.run(drain_seconds)

    try:
      asyncio.run(main())
    except BaseException as e:
      self.error = e

    self._listening.set()

  def wait_until_ready(self) -> None:
    assert self._ready.wait(_PATIENCE), self.error

  def drain(self) -> None:
    self._loop.call_soon_threadsafe(self.server.drain)

  def join(self) -> None:
    self._thread.join(_PATIENCE)
    assert not self._thread.is_alive()

  def get(self, path: str, **headers: str) -> tuple[int, str]:
    """HTTP status and text of a path on the same port."""
    url = self.url.replace("ws", "http", 1) + path

    try:
      with urllib.request.urlopen(
        urllib.request.Request(url, headers=headers), timeout=_PATIENCE
      ) as reply:
        return reply.status, reply.read().decode()
    except urllib.error.HTTPError as e:
      return e.code, e.read().decode()

  def metric(self, name: str, **labels: str) -> float:
    return self.server.metrics.registry.get_sample_value(f"gato_serve_{name}", labels) or 0.0


@contextlib.contextmanager
def serve(engine, address=None, drain_seconds=0.0, ready=True, **limits):
  """Yields a running server with `limits` of ServeConfig and stops it at the end.

  An error that ended the server is raised then.
  """
  running = Served(engine, address or front.Address(port=0), drain_seconds, limits)

  try:
    if ready:
      running.wait_until_ready()
    yield running
  finally:
    if running._thread.is_alive():
      running.drain()
    running.join()

  if running.error:
    raise running.error


def first(task="reach", seed=1):
  environment = DOMAIN.make_environment(task)
  environment.seed(seed)
  return environment.reset()


def raw(server, **options):
  """Connects a plain WebSocket, on which a test may send anything."""
  options = {
    "compression": None,
    "proxy": None,
    "legacy": True,
    "ping_interval": None,
    "close_timeout": 0.5,
  } | options
  return websockets.sync.client.connect(server.url, **options)


def wait_for(condition, seconds=_PATIENCE):
  until = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < until, "waited in vain"
    time.sleep(0.02)


def still_serves(server, good):
  """Asserts that an old client goes on, a new one is admitted, and no other session is left."""
  assert good.act({0: first()})[0].shape == (2,)

  with client.RemoteActor(server.url, "dummy.reach") as other:
    other.reset(0, 1)
    other.act({0: first()})

  wait_for(lambda: server.metric("sessions") == 1)

  assert server.error is None


class Recorder:
  """An actor that keeps what it was told to do, by seed."""

  def __init__(self, actor):
    self._actor, self._seeds = actor, {}
    self.actions: dict[int, list[np.ndarray]] = {}

  def reset(self, slot, seed):
    self._seeds[slot] = seed
    self.actions[seed] = []
    self._actor.reset(slot, seed)

  def act(self, timesteps):
    actions = self._actor.act(timesteps)
    for slot, action in actions.items():
      self.actions[self._seeds[slot]].append(action)
    return actions


def play(actor, task, seeds, copies=1):
  """Every action of some episodes, by seed."""
  recorder = Recorder(actor)
  list(loop.run_episodes([DOMAIN.make_environment(task) for _ in range(copies)], recorder, seeds))
  return recorder.actions
