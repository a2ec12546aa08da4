"""Answers the requests of clients.

The requests of a connection are answered one after the other, so a client has one of them in the
batcher at most. What it sends meanwhile stays in its socket.
"""

import time
from collections.abc import Mapping
from typing import Any

from dm_env.specs import StringArray

from gato_jax.errors import GatoError, check_name
from gato_jax.serve import front, protocol
from gato_jax.serve.batcher import Batcher, Engine
from gato_jax.serve.metrics import Metrics
from gato_jax.serve.protocol import RequestRefused
from gato_jax.serve.sessions import Session, SessionPool
from gato_jax.task import TaskSpec

_MAX_ERROR_LENGTH = 500  # characters; the message of an error may quote what the client sent


class Client:
  """State of one connection.

  Attributes:
    connection: Its socket.
    greeted: True after the client said hello.
    sessions: Number -> session.
    message_bytes: Upper limit of what a right message needs.
    readable_bytes: Longer messages are not even read to refuse them by the name of a field.
  """

  def __init__(self, connection: front.ServerConnection):
    self.connection = connection
    self.greeted = False
    self.sessions: dict[int, Session] = {}
    self.message_bytes = self.readable_bytes = protocol.message_bytes([])

  def limit_messages(self) -> None:
    """Adapts the limits to the open sessions."""
    task_specs = [session.spec for session in self.sessions.values()]
    self.message_bytes = protocol.message_bytes(task_specs)

    # This limit never shrinks: the last message of a closed session may be on its way.
    self.readable_bytes = max(self.readable_bytes, protocol.readable_bytes(task_specs))
    self.connection.limit_messages(self.readable_bytes)


class RequestHandler:
  """Answers requests with an engine, whose slots are sessions of clients."""

  def __init__(
    self,
    engine: Engine,
    batcher: Batcher,
    *,
    task_specs: Mapping[str, TaskSpec],
    step: int,
    sessions: SessionPool,
    admission: front.Admission,
    metrics: Metrics,
    idle_seconds: float,
  ):
    """Shares its arguments with the server.

    Args:
      engine: Packs observations.
      batcher: Computes steps.
      task_specs: Tasks that are served.
      step: Training step of the checkpoint, for the welcome.
      sessions: All open sessions.
      admission: Its state says whether the server is draining.
      metrics: Counts requests.
      idle_seconds: For the error about a session that was dropped.
    """
    self._engine = engine
    self._batcher = batcher
    self._specs = task_specs
    self._step = step
    self._sessions = sessions
    self._admission = admission
    self._metrics = metrics
    self._idle_seconds = idle_seconds
    self._handlers = {
      "spec": self._spec,
      "open": self._open,
      "start": self._start,
      "act": self._act,
      "close": self._close,
    }

  async def reply(self, client: Client, data: bytes | str) -> dict:
    """Answers one request; a refusal concerns that request only."""
    try:
      message = protocol.decode(data)
      if not client.greeted:
        return self._hello(client, message)

      # A second hello is a request at the wrong time; anything else is none at all.
      handler = self._handlers.get(message["type"])
      if not handler:
        raise RequestRefused(
          "order" if message["type"] == "hello" else "malformed",
          f"no request: {message['type']!r:.40}",
        )
      if len(data) > client.message_bytes:
        self._refuse_long(client, message, size=len(data))
      return await handler(client, message)

    except RequestRefused as e:
      self._metrics.refused.labels(e.reason).inc()
      return {"type": "error", "reason": e.reason, "message": str(e)[:_MAX_ERROR_LENGTH]}

  def close_session(self, client: Client, session: Session) -> None:
    """Frees a session's slot and adapts the client's limits."""
    del client.sessions[session.number]
    self._sessions.close(session)
    self._on_sessions_changed(client)

  def _refuse_long(self, client: Client, message: dict, size: int) -> None:
    """Refuses a message that is longer than any right one, by its wrong field if it has one."""
    if message["type"] == "act":
      for number, observation in protocol.take_steps(message).items():
        # Raises RequestRefused for a field that is not what the spec says.
        self._pack(self._find_session(client, number).spec, observation)

    limit = f"the sessions of this connection need {client.message_bytes} at most"
    raise RequestRefused("too_large", f"{message['type']}: a message of {size} bytes; {limit}")

  def _hello(self, client: Client, message: dict) -> dict:
    if message["type"] != "hello":
      raise RequestRefused("order", f"the first message must be hello, is {message['type']!r:.40}")
    version = protocol.take(message, "version", kind=int)
    if version != protocol.VERSION:
      raise RequestRefused(
        "version", f"the client speaks protocol {version}, this server {protocol.VERSION}"
      )

    client.greeted = True
    return {
      "type": "welcome",
      "version": protocol.VERSION,
      "step": self._step,
      "tasks": sorted(self._specs),
    }

  async def _spec(self, client: Client, message: dict) -> dict:
    return {"type": "spec", "spec": self._find_spec(message).to_json()}

  async def _open(self, client: Client, message: dict) -> dict:
    spec = self._find_spec(message)
    if self._admission.state == "draining":
      raise RequestRefused("draining", "the server is shutting down and takes no new sessions")

    # Longer messages are right from now on, as each session adds an observation.
    session = self._sessions.open(spec)
    client.sessions[session.number] = session
    self._on_sessions_changed(client)
    return {"type": "opened", "session": session.number}

  async def _start(self, client: Client, message: dict) -> dict:
    session = self._find_session(client, protocol.take(message, "session", kind=int))
    seed = protocol.take(message, "seed", kind=int)
    if not 0 <= seed < protocol.SEEDS:
      raise RequestRefused("malformed", f"start: seed {seed} is not in [0, {protocol.SEEDS})")
    group = protocol.take(message, "group", kind=str) if "group" in message else ""

    # The previous episode of the session has ended, even if no new one may start.
    session.playing = False
    if self._admission.state == "draining":
      raise RequestRefused("draining", "the server is shutting down and starts no new episodes")

    self._batcher.start(session.slot, session.spec.name, seed=seed, group=group)
    session.playing = True
    self._metrics.episodes.labels(session.spec.name).inc()
    return {"type": "started"}

  async def _act(self, client: Client, message: dict) -> dict:
    """Computes a step in some sessions of the client.

    Everything is checked before anything is computed: a refused message changes no session.
    """
    start_time = time.perf_counter()
    steps = protocol.take_steps(message)
    sessions = {number: self._find_session(client, number) for number in steps}

    packed = {}
    for number, session in sessions.items():
      if not session.playing:
        raise RequestRefused("order", f"act: no episode was started in session {number}")
      packed[session.slot] = self._pack(session.spec, steps[number])

    # A busy session is not idle, however long its step takes.
    for session in sessions.values():
      session.busy = True
    try:
      actions = await self._batcher.act(packed)
    finally:
      for session in sessions.values():
        session.busy = False
        session.last_used = time.monotonic()

    for session in sessions.values():
      self._metrics.steps.labels(session.spec.name).inc()
    self._metrics.step_seconds.observe(time.perf_counter() - start_time)

    return {
      "type": "actions",
      "actions": [[number, actions[session.slot]] for number, session in sessions.items()],
    }

  async def _close(self, client: Client, message: dict) -> dict:
    number = protocol.take(message, "session", kind=int)
    self.close_session(client, self._find_session(client, number))
    return {"type": "closed"}

  def _pack(self, spec: TaskSpec, observation: dict) -> Any:
    """Returns the engine's input; raises RequestRefused with the name of a wrong field."""
    # The engine checks shapes and dtypes, of arrays; it would read a text as one of them.
    for key, field in spec.observation.items():
      is_text = isinstance(field, StringArray)
      if key in observation and isinstance(observation[key], str) != is_text:
        kind = "a text" if is_text else "an array"
        raise RequestRefused("observation", f"{spec.name}: {key!r} must be {kind}")

    try:
      return self._engine.pack(spec.name, observation)
    except GatoError as e:
      raise RequestRefused("observation", str(e)) from e

  def _find_spec(self, message: dict) -> TaskSpec:
    """Returns the spec of the task that a message names."""
    task = protocol.take(message, "task", kind=str)
    try:
      check_name(task, self._specs, noun="task of this server")
    except GatoError as e:
      raise RequestRefused("unknown_task", str(e)) from e
    return self._specs[task]

  def _find_session(self, client: Client, number: int) -> Session:
    """Returns a session of a client, which is used from now on."""
    session = client.sessions.get(number)
    if session is None:
      hint = f"one that is not used for {self._idle_seconds:g} s is dropped"
      raise RequestRefused("unknown_session", f"this connection has no session {number}; {hint}")

    session.last_used = time.monotonic()
    return session

  def _on_sessions_changed(self, client: Client) -> None:
    self._metrics.sessions.set(len(self._sessions))
    client.limit_messages()
