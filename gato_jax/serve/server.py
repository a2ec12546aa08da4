"""A policy's engine behind a socket: sessions, requests and their replies, from the first client to the last.

A connection's requests are answered one after the other, so a client never has more than one in the batcher. What it
sends meanwhile stays in its socket.
"""

import asyncio
import dataclasses
import signal
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

from dm_env.specs import StringArray
from websockets.exceptions import ConnectionClosed

from gato_jax import specs
from gato_jax.errors import GatoError
from gato_jax.serve import front, protocol
from gato_jax.serve.batcher import Batcher, Engine, Stopped
from gato_jax.serve.metrics import Metrics
from gato_jax.serve.protocol import Refused
from gato_jax.serve.sessions import Seats, Session

_MESSAGE_LENGTH = 500  # characters of an error's message: it may quote what the client sent
_POLICY_VIOLATION, _GOING_AWAY = 1008, 1001  # WebSocket close codes
_REASONS_OF_CODES = {1002: "malformed", 1007: "malformed", 1009: "too_large"}  # where websockets ends a connection


@dataclasses.dataclass(frozen=True)
class ServeConfig:
  """Limits of a server. Times in seconds.

  Attributes:
    sessions: environments that are played at the same time; each has a memory on the device.
    connections: open ones, and as many that have not shaken hands yet.
    idle_seconds: without a request, after which a session is dropped and a connection is closed.
    handshake_seconds: for the handshake and the hello. send_seconds: for a client to read a reply.
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


class _Client:
  """One connection.

  Attributes:
    greeted: it said hello. sessions: by number.
    message_bytes: that a message needs at most. readable_bytes: that are read of one, to refuse it by name.
  """

  def __init__(self, connection: front.Connection):
    self.connection = connection
    self.greeted = False
    self.sessions: dict[int, Session] = {}
    self.message_bytes = self.readable_bytes = protocol.message_bytes([])

  def limit_messages(self) -> None:
    """After a session came or went. What is read never shrinks: a session's last message may be on its way."""
    task_specs = [session.spec for session in self.sessions.values()]
    self.message_bytes = protocol.message_bytes(task_specs)
    self.readable_bytes = max(self.readable_bytes, protocol.readable_bytes(task_specs))
    self.connection.limit_messages(self.readable_bytes)


class Server:
  """Serves `engine`, which knows the tasks of `task_specs`, in `config.sessions` slots."""

  def __init__(
    self,
    engine: Engine,
    task_specs: Mapping[str, specs.TaskSpec],
    step: int,
    config: ServeConfig,
    address: front.Address,
    say: Callable[[str], None] = lambda text: None,
  ):
    self._engine, self._specs, self._step, self._config, self._say = engine, dict(task_specs), step, config, say
    self._address = address
    self.metrics = Metrics(config.sessions)
    self.seats = Seats(config.sessions)
    self._clients: set[_Client] = set()
    self._door = front.Door(address, config.connections, self.metrics)
    self._drain = asyncio.Event()
    self._hurry = False
    self._answers = {
      "spec": self._spec, "open": self._open, "start": self._start, "act": self._act, "close": self._close
    }  # fmt: skip
    self.port = 0

  def drain(self) -> None:
    """No new sessions and episodes from now on; called twice, those that run are not waited for either."""
    if self._drain.is_set():
      self._hurry = True
    self._drain.set()

  async def run(self, drain_seconds: float) -> None:
    """Listens, compiles, serves until `drain`, and then until no episode runs or `drain_seconds` have passed.

    Raises:
      GatoError: the address cannot be listened on.
      Exception: whatever the engine raised.
    """
    first_message = protocol.message_bytes([])
    listener = front.listen(self._door, self._address, self._handle, first_message, self._config.handshake_seconds)
    try:
      server = await listener
    except OSError as e:
      where = f"{self._address.host}:{self._address.port}"
      raise GatoError(f"cannot listen on {where}: {e.strerror or e}; --port=0 picks a free port") from e
    self.port = server.sockets[0].getsockname()[1]
    self._say(f"listening on {self._url}; /health, /ready and /metrics are there from now on")
    self._batcher = Batcher(self._engine, self.metrics, lambda shape: self._say(f"compiling {shape}"))
    drained = asyncio.ensure_future(self._drain.wait())
    reaper = asyncio.ensure_future(self._reap())
    ends = [self._batcher.ended, drained, reaper]
    try:
      await asyncio.wait([self._batcher.ready, *ends], return_when=asyncio.FIRST_COMPLETED)
      if not any(end.done() for end in ends):
        self._set_state("ready")
        self._say(f"{self._config.sessions} sessions; a client connects with:\n{self._how_to_connect()}")
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
      if drained.done():
        self._set_state("draining")
        await self._wait_for_episodes(drain_seconds)
    finally:
      drained.cancel()
      broke = reaper.done()
      reaper.cancel()
      server.close(code=_GOING_AWAY, reason="the server is shutting down")
      await self._batcher.stop()
      await server.wait_closed()
    self._batcher.ended.result()
    if broke:
      reaper.result()

  @property
  def _url(self) -> str:
    everywhere = self._address.host in ("0.0.0.0", "::")
    host = socket.gethostname() if everywhere else self._address.host
    host = f"[{host}]" if ":" in host else host
    return f"{self._address.scheme}://{host}:{self.port}"

  def _how_to_connect(self) -> str:
    options = ", token=..." if self._address.token else ""
    return (
      "  from gato_jax.serve.client import RemoteActor\n"
      f'  actor = RemoteActor("{self._url}", task="{min(self._specs)}"{options})\n'
      "  for episode in environment_loop.run_episodes([environment], actor, seeds): ..."
    )

  def _set_state(self, state: str) -> None:
    self._door.state = state
    self.metrics.ready.set(state == "ready")
    self._say(state)

  async def _wait_for_episodes(self, seconds: float) -> None:
    until = time.monotonic() + seconds
    while any(s.playing for s in self.seats) and time.monotonic() < until and not self._batcher.ended.done():
      if self._hurry:
        break
      await asyncio.sleep(0.05)
    running = sum(s.playing for s in self.seats)
    if running:
      self._say(f"{running} episodes are cut off")

  async def _reap(self) -> None:
    """Drops sessions that nobody uses."""
    while True:
      await asyncio.sleep(min(1.0, self._config.idle_seconds / 4))
      now = time.monotonic()
      for client in tuple(self._clients):
        for session in tuple(client.sessions.values()):
          if not session.busy and now - session.last_used > self._config.idle_seconds:
            self.metrics.refused.labels("idle").inc()
            self._leave(client, session)

  async def _handle(self, connection: front.Connection) -> None:
    """A connection, from after its handshake to its end; its sessions end with it."""
    client = _Client(connection)
    self._door.enter(connection)
    self._clients.add(client)
    try:
      while True:
        limit = self._config.idle_seconds if client.greeted else self._config.handshake_seconds
        try:
          async with asyncio.timeout(limit):
            data = await connection.recv()
        except TimeoutError:
          self.metrics.refused.labels("idle" if client.greeted else "too_slow").inc()
          await connection.close(_POLICY_VIOLATION, f"no request for {limit:g} s")
          return
        reply = await self._reply(client, data)
        try:
          async with asyncio.timeout(self._config.send_seconds):
            await connection.send(protocol.encode(reply))
        except TimeoutError:
          self._door.drop_unread(connection)
          return
        if not client.greeted:  # a refused hello; nothing that it could say next would help
          await connection.close(_POLICY_VIOLATION, _short(reply["message"]))
          return
    except Stopped:
      await connection.close(_GOING_AWAY, "the server is shutting down")
    except ConnectionClosed:
      sent = connection.protocol.close_sent
      if sent and sent.code in _REASONS_OF_CODES:
        self.metrics.refused.labels(_REASONS_OF_CODES[sent.code]).inc()
    finally:
      for session in tuple(client.sessions.values()):
        self._leave(client, session)
      self._clients.discard(client)

  async def _reply(self, client: _Client, data: bytes | str) -> dict:
    """The answer to one request; a refusal concerns that request only."""
    try:
      message = protocol.decode(data)
      if not client.greeted:
        return self._hello(client, message)
      answer = self._answers.get(message["type"])
      if not answer:
        raise Refused("order" if message["type"] == "hello" else "malformed", f"no request: {message['type']!r:.40}")
      if len(data) > client.message_bytes:
        self._refuse_long(client, message, len(data))
      return await answer(client, message)
    except Refused as e:
      self.metrics.refused.labels(e.reason).inc()
      return {"type": "error", "reason": e.reason, "message": str(e)[:_MESSAGE_LENGTH]}

  def _refuse_long(self, client: _Client, message: dict, size: int) -> None:
    """Refuses a message that is longer than any that is right, by the field that is wrong where there is one."""
    if message["type"] == "act":
      for number, observation in protocol.take_steps(message).items():
        self._pack(self._session(client, number).spec, observation)
    limit = f"the sessions of this connection need {client.message_bytes} at most"
    raise Refused("too_large", f"{message['type']}: a message of {size} bytes; {limit}")

  def _hello(self, client: _Client, message: dict) -> dict:
    if message["type"] != "hello":
      raise Refused("order", f"the first message must be hello, is {message['type']!r:.40}")
    version = protocol.take(message, "version", int)
    if version != protocol.VERSION:
      raise Refused("version", f"the client speaks protocol {version}, this server {protocol.VERSION}")
    client.greeted = True
    return {"type": "welcome", "version": protocol.VERSION, "step": self._step, "tasks": sorted(self._specs)}

  async def _spec(self, client: _Client, message: dict) -> dict:
    return {"type": "spec", "spec": self._task(message).to_json()}

  async def _open(self, client: _Client, message: dict) -> dict:
    spec = self._task(message)
    if self._door.state == "draining":
      raise Refused("draining", "the server is shutting down and takes no new sessions")
    session = self.seats.take(spec)
    client.sessions[session.number] = session
    self._count(client)
    return {"type": "opened", "session": session.number}

  async def _start(self, client: _Client, message: dict) -> dict:
    session = self._session(client, protocol.take(message, "session", int))
    seed = protocol.take(message, "seed", int)
    if not 0 <= seed < protocol.SEEDS:
      raise Refused("malformed", f"start: seed {seed} is not in [0, {protocol.SEEDS})")
    session.playing = False  # its last episode is over, whatever follows
    if self._door.state == "draining":
      raise Refused("draining", "the server is shutting down and starts no new episodes")
    self._batcher.start(session.slot, session.spec.name, seed)
    session.playing = True
    self.metrics.episodes.labels(session.spec.name).inc()
    return {"type": "started"}

  async def _act(self, client: _Client, message: dict) -> dict:
    """Everything is checked before anything is computed: a refused message changes no session."""
    began = time.perf_counter()
    steps = protocol.take_steps(message)
    sessions = {number: self._session(client, number) for number in steps}
    packed = {}
    for number, session in sessions.items():
      if not session.playing:
        raise Refused("order", f"act: no episode was started in session {number}")
      packed[session.slot] = self._pack(session.spec, steps[number])
    for session in sessions.values():
      session.busy = True
    try:
      actions = await self._batcher.act(packed)
    finally:
      for session in sessions.values():
        session.busy, session.last_used = False, time.monotonic()
    for session in sessions.values():
      self.metrics.steps.labels(session.spec.name).inc()
    self.metrics.step_seconds.observe(time.perf_counter() - began)
    return {"type": "actions", "actions": [[number, actions[session.slot]] for number, session in sessions.items()]}

  def _pack(self, spec: specs.TaskSpec, observation: dict) -> Any:
    """What the engine takes; Refused, with the field's name, where it is not what the spec says."""
    for key, field in spec.observation.items():
      if key in observation and isinstance(observation[key], str) != isinstance(field, StringArray):
        kind = "a text" if isinstance(field, StringArray) else "an array"
        raise Refused("observation", f"{spec.name}: {key!r} must be {kind}")
    try:
      return self._engine.pack(spec.name, observation)
    except GatoError as e:
      raise Refused("observation", str(e)) from e

  async def _close(self, client: _Client, message: dict) -> dict:
    self._leave(client, self._session(client, protocol.take(message, "session", int)))
    return {"type": "closed"}

  def _task(self, message: dict) -> specs.TaskSpec:
    task = protocol.take(message, "task", str)
    try:
      specs.check_name(task, self._specs, "task of this server")
    except GatoError as e:
      raise Refused("unknown_task", str(e)) from e
    return self._specs[task]

  def _session(self, client: _Client, number: int) -> Session:
    session = client.sessions.get(number)
    if session is None:
      idle = f"one that is not used for {self._config.idle_seconds:g} s is dropped"
      raise Refused("unknown_session", f"this connection has no session {number}; {idle}")
    session.last_used = time.monotonic()
    return session

  def _leave(self, client: _Client, session: Session) -> None:
    del client.sessions[session.number]
    self.seats.leave(session)
    self._count(client)

  def _count(self, client: _Client) -> None:
    """After a session came or went: what is shown, and how long the client's messages may be."""
    self.metrics.sessions.set(len(self.seats))
    client.limit_messages()


def _short(text: str) -> str:
  """A close frame's reason has at most 123 bytes."""
  return text.encode()[:120].decode(errors="ignore")


def run(server_of: Callable[[], Server], drain_seconds: float) -> None:
  """Runs a server in an event loop of its own until SIGTERM or SIGINT, twice for at once."""

  async def main() -> None:
    server = server_of()
    for number in (signal.SIGTERM, signal.SIGINT):
      asyncio.get_running_loop().add_signal_handler(number, server.drain)
    await server.run(drain_seconds)

  asyncio.run(main())
