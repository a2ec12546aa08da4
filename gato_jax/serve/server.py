"""Serves a policy's engine over WebSockets, from the first connection to the last episode."""

import asyncio
import dataclasses
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import websockets.asyncio.server
from websockets.exceptions import ConnectionClosed

from gato_jax.errors import GatoError
from gato_jax.serve import front, protocol
from gato_jax.serve.batcher import Batcher, Engine, Stopped
from gato_jax.serve.metrics import Metrics
from gato_jax.serve.requests import Client, RequestHandler
from gato_jax.serve.sessions import SessionPool
from gato_jax.task import TaskSpec

_POLICY_VIOLATION, _GOING_AWAY = 1008, 1001  # WebSocket close codes
# Close code with which websockets ends a connection by itself -> label of the metric.
_REASONS_OF_CODES = {1002: "malformed", 1007: "malformed", 1009: "too_large"}


@dataclasses.dataclass(frozen=True)
class ServeConfig:
  """Limits of a server.

  Attributes:
    sessions: Environments that are played at the same time; each has a memory on the device.
    connections: Open connections, and as many more before their handshake.
    idle_seconds: Time without a request after which a session or a connection is closed.
    handshake_seconds: Time limit of the handshake, and of the hello.
    send_seconds: Time limit of a client to read a reply.
  """

  sessions: int = 64
  connections: int = 128
  idle_seconds: float = 60.0
  handshake_seconds: float = 10.0
  send_seconds: float = 10.0

  def __post_init__(self):
    for field in dataclasses.fields(self):
      if getattr(self, field.name) <= 0:
        raise GatoError(f"serve.{field.name} must be above 0, is {getattr(self, field.name)}")


class Server:
  """Serves an engine.

  Attributes:
    metrics: Counters, which /metrics shows.
    sessions: The open sessions.
    port: On which it listens; 0 before it does.
  """

  def __init__(
    self,
    engine: Engine,
    task_specs: Mapping[str, TaskSpec],
    *,
    step: int,
    config: ServeConfig,
    address: front.Address,
    report: Callable[[str], None] = lambda text: None,
  ):
    """Prepares a server; `run` starts it.

    Args:
      engine: Has `config.sessions` slots, and knows the tasks of `task_specs`.
      task_specs: Tasks that are served.
      step: Training step of the checkpoint.
      config: Limits.
      address: To listen on.
      report: Called with lines for people; also from the engine's threads while it compiles.
    """
    self._engine = engine
    self._specs = dict(task_specs)
    self._step = step
    self._config = config
    self._address = address
    self._report = report

    self.port = 0
    self.metrics = Metrics(config.sessions)
    self.sessions = SessionPool(config.sessions)
    self._clients: set[Client] = set()
    self._admission = front.Admission(address, config.connections, metrics=self.metrics)
    self._draining = asyncio.Event()
    self._cut_episodes = False

  def drain(self) -> None:
    """Admits no new sessions and episodes from now on.

    Called a second time, it does not let running episodes finish either.
    """
    if self._draining.is_set():
      self._cut_episodes = True
    self._draining.set()

  async def run(self, drain_seconds: float) -> None:
    """Listens, compiles and serves until `drain` is called and the running episodes have finished.

    Args:
      drain_seconds: Time limit of these episodes.

    Raises:
      GatoError: The address cannot be listened on.
      Exception: An error of the engine.
    """
    listener = await self._listen()
    self.port = listener.sockets[0].getsockname()[1]
    self._report(f"listening on {self._url}; /health, /ready and /metrics are there from now on")

    # No connection needs these two yet: the admission refuses all while the engine compiles.
    self._batcher = Batcher(
      self._engine, self.metrics, on_shape=lambda shape: self._report(f"compiling {shape}")
    )
    self._requests = RequestHandler(
      self._engine,
      self._batcher,
      task_specs=self._specs,
      step=self._step,
      sessions=self.sessions,
      admission=self._admission,
      metrics=self.metrics,
      idle_seconds=self._config.idle_seconds,
    )

    # The server ends with the engine, by `drain`, or by an error in the task that drops sessions.
    drained = asyncio.ensure_future(self._draining.wait())
    idle_check = asyncio.ensure_future(self._drop_idle_sessions())
    ends: list[asyncio.Future[Any]] = [self._batcher.ended, drained, idle_check]
    try:
      await asyncio.wait([self._batcher.ready, *ends], return_when=asyncio.FIRST_COMPLETED)
      if not any(end.done() for end in ends):
        self._set_state("ready")
        self._report(
          f"{self._config.sessions} sessions; a client connects with:\n{self._client_example()}"
        )
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
      if drained.done():
        self._set_state("draining")
        await self._wait_for_episodes(drain_seconds)
    finally:
      drained.cancel()
      idle_check_failed = idle_check.done()
      idle_check.cancel()
      listener.close(code=_GOING_AWAY, reason="the server is shutting down")
      await self._batcher.stop()
      await listener.wait_closed()

    # Raise the error that ended the server, if there was one.
    self._batcher.ended.result()
    if idle_check_failed:
      idle_check.result()

  async def _listen(self) -> websockets.asyncio.server.Server:
    """Starts the websockets server."""
    listener = front.listen(
      self._admission,
      self._address,
      handler=self._handle,
      first_message_bytes=protocol.message_bytes([]),
      seconds=self._config.handshake_seconds,
    )
    try:
      return await listener
    except OSError as e:
      address = f"{self._address.host}:{self._address.port}"
      raise GatoError(
        f"cannot listen on {address}: {e.strerror or e}; --port=0 picks a free port"
      ) from e

  @property
  def _url(self) -> str:
    """URL for clients, which may be on other machines."""
    host = self._address.host
    # Both stand for all addresses of this machine, to which no client can connect.
    if host in ("0.0.0.0", "::"):
      host = socket.gethostname()
    if ":" in host:
      host = f"[{host}]"  # IPv6

    return f"{self._address.scheme}://{host}:{self.port}"

  def _client_example(self) -> str:
    options = ", token=..." if self._address.token else ""
    return (
      "  from gato_jax.serve.client import RemoteActor\n"
      f'  actor = RemoteActor("{self._url}", task="{min(self._specs)}"{options})\n'
      "  for episode in gato_jax.env.loop.run_episodes([environment], actor, seeds): ..."
    )

  def _set_state(self, state: str) -> None:
    self._admission.state = state
    self.metrics.ready.set(state == "ready")
    self._report(state)

  async def _wait_for_episodes(self, seconds: float) -> None:
    """Waits for running episodes, until the time is over or `drain` is called again."""
    deadline = time.monotonic() + seconds
    while (
      any(session.playing for session in self.sessions)
      and time.monotonic() < deadline
      and not self._batcher.ended.done()
      and not self._cut_episodes
    ):
      await asyncio.sleep(0.05)

    running = sum(session.playing for session in self.sessions)
    if running:
      self._report(f"{running} episodes are cut off")

  async def _drop_idle_sessions(self) -> None:
    """Closes sessions that nobody uses, for as long as the server runs."""
    idle_seconds = self._config.idle_seconds
    while True:
      await asyncio.sleep(min(1.0, idle_seconds / 4))

      # Copies, because closing a session changes both collections.
      now = time.monotonic()
      for client in tuple(self._clients):
        for session in tuple(client.sessions.values()):
          if not session.busy and now - session.last_used > idle_seconds:
            self.metrics.refused.labels("idle").inc()
            self._requests.close_session(client, session)

  async def _handle(self, connection: front.ServerConnection) -> None:
    """Serves a connection from after its handshake to its end; its sessions end with it."""
    client = Client(connection)
    self._admission.on_handshake(connection)
    self._clients.add(client)

    try:
      while await self._answer_request(client):
        pass
    except Stopped:
      await connection.close(_GOING_AWAY, "the server is shutting down")
    except ConnectionClosed:
      # Where this side closed it, websockets found a message malformed or too large.
      sent = connection.protocol.close_sent
      if sent and sent.code in _REASONS_OF_CODES:
        self.metrics.refused.labels(_REASONS_OF_CODES[sent.code]).inc()
    finally:
      for session in tuple(client.sessions.values()):
        self._requests.close_session(client, session)
      self._clients.discard(client)

  async def _answer_request(self, client: Client) -> bool:
    """Waits for a client's next request and answers it.

    Returns:
      False if the server has closed the connection.
    """
    connection = client.connection

    limit = self._config.idle_seconds if client.greeted else self._config.handshake_seconds
    try:
      async with asyncio.timeout(limit):
        data = await connection.recv()
    except TimeoutError:
      self.metrics.refused.labels("idle" if client.greeted else "too_slow").inc()
      await connection.close(_POLICY_VIOLATION, f"no request for {limit:g} s")
      return False

    # A client that does not read its replies would block this coroutine for good.
    reply = await self._requests.reply(client, data)
    try:
      async with asyncio.timeout(self._config.send_seconds):
        await connection.send(protocol.encode(reply))
    except TimeoutError:
      self._admission.drop_unread(connection)
      return False

    # After a refused hello, nothing that the client could send would help.
    if not client.greeted:
      await connection.close(_POLICY_VIOLATION, _close_reason(reply["message"]))
      return False
    return True


def _close_reason(text: str) -> str:
  """Shortens a text: the reason in a close frame has 123 bytes at most."""
  return text.encode()[:120].decode(errors="ignore")


def run(make_server: Callable[[], Server], drain_seconds: float) -> None:
  """Runs a server until SIGTERM or SIGINT; a second signal ends running episodes.

  Args:
    make_server: Called inside the event loop.
    drain_seconds: Time limit of running episodes after the signal.
  """

  async def main() -> None:
    server = make_server()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
      asyncio.get_running_loop().add_signal_handler(signal_number, server.drain)
    await server.run(drain_seconds)

  asyncio.run(main())
