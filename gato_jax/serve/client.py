"""An actor that acts through a server, for robots and simulators on other machines.

It imports NumPy, msgpack and websockets; no JAX, no TensorFlow:

  actor = RemoteActor("ws://127.0.0.1:8000", task="dummy.reach")
  actor.check(environment)
  for episode in run_episodes([environment], actor, seeds): ...
"""

import math
import socket
import ssl
import struct
import time
import urllib.parse
from collections.abc import Mapping
from typing import Any

import dm_env
import numpy as np
import websockets.sync.client
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI

from gato_jax.env import returns
from gato_jax.errors import GatoError
from gato_jax.serve import protocol
from gato_jax.serve.protocol import RequestRefused
from gato_jax.task import TaskSpec, flatten, spec_difference

_TIMEOUT = 10.0  # seconds
_RETRY_SECONDS = 0.25


class ConnectionLost(GatoError):
  """The server cannot be reached, or does not answer any more; a new connection may be tried."""


class ClientConnection:
  """One connection to a server, used from one thread.

  Attributes:
    url: Of the server.
    tasks: Names "domain.task" that it serves.
    step: Training step of its checkpoint.
    readable_bytes: The server would end the connection at a longer message, so it is refused here.
  """

  def __init__(
    self,
    url: str,
    *,
    token: str | None = None,
    timeout: float = _TIMEOUT,
    tls_ca: str = "",
    plain_text: bool = False,
  ):
    """Connects.

    Args:
      url: ws://host:port or wss://host:port.
      token: The server's; needed unless it is on loopback without one.
      timeout: Seconds for connecting and for each reply.
      tls_ca: PEM file of the certificate's authority, or of the certificate itself where nobody
        signed it.
      plain_text: Allows the token to travel unencrypted to another machine.

    Raises:
      ConnectionLost: Nobody answers there.
      GatoError: The server refuses, or the arguments cannot work.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
      raise GatoError(
        f"{url!r} is no address of a server; it looks like ws://127.0.0.1:8000 or wss://host:8000"
      )
    is_local = protocol.is_loopback(parts.hostname)
    if token and parts.scheme == "ws" and not is_local and not plain_text:
      raise GatoError(
        f"the token would travel to {parts.hostname} unencrypted; use wss://, or plain_text=True"
      )

    self.url = url
    self.readable_bytes = math.inf
    self._timeout = timeout
    self._socket = _connect(
      url,
      headers={"Authorization": f"Bearer {token}"} if token else {},
      timeout=timeout,
      tls_ca=tls_ca,
      is_tls=parts.scheme == "wss",
      use_proxy=not is_local,
    )

    # The kernel's limit for sends, as struct timeval: a server that hangs must not block a robot.
    limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
    self._socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)

    welcome = self.request("welcome", type="hello", version=protocol.VERSION)
    self.tasks: list[str] = welcome["tasks"]
    self.step: int = welcome["step"]

  def spec(self, task: str) -> TaskSpec:
    """Returns the spec of a task that the checkpoint was trained on."""
    return TaskSpec.from_json(self.request("spec", type="spec", task=task)["spec"])

  def request(self, reply_type: str, **message: Any) -> dict[str, Any]:
    """Sends a message and returns its reply.

    Args:
      reply_type: Expected type of the reply.
      **message: Fields of the message.

    Raises:
      RequestRefused: The server refuses the request, or would not read it.
      ConnectionLost: There is no reply in time, or the connection has ended.
      GatoError: The message cannot be encoded, or the reply is of another type.
    """
    try:
      data = protocol.encode(message)
      if len(data) > self.readable_bytes:
        raise RequestRefused(
          "too_large",
          f"{_largest_field(message)}; the server reads messages of {self.readable_bytes} bytes",
        )
      self._socket.send(data)
      reply = protocol.decode(self._socket.recv(self._timeout))
    except TimeoutError as e:
      # A late reply would be taken for that of the next request.
      self.close()
      raise ConnectionLost(f"{self.url}: no reply within {self._timeout:g} s") from e
    except ConnectionClosed as e:
      reason = e.rcvd.reason if e.rcvd and e.rcvd.reason else "it broke off"
      raise ConnectionLost(f"{self.url}: the connection has ended: {reason}") from e
    except TypeError as e:
      raise GatoError(f"{self.url}: {e}") from e

    if reply["type"] == "error":
      raise RequestRefused(reply.get("reason", ""), f"{self.url}: {reply.get('message')}")
    if reply["type"] != reply_type:
      raise GatoError(
        f"{self.url}: {reply['type']!r} where {reply_type!r} was expected; is it of the same "
        "version?"
      )
    return reply

  def close(self) -> None:
    """Ends the connection and its sessions."""
    self._socket.close()


def _connect(
  url: str,
  *,
  headers: Mapping[str, str],
  timeout: float,
  tls_ca: str,
  is_tls: bool,
  use_proxy: bool,
) -> websockets.sync.client.ClientConnection:
  """Opens a WebSocket; raises ConnectionLost or GatoError with advice."""
  try:
    context = ssl.create_default_context(cafile=tls_ca or None) if is_tls else None
    return websockets.sync.client.connect(
      url,
      ssl=context,
      additional_headers=headers,
      compression=None,
      proxy=True if use_proxy else None,
      open_timeout=timeout,
      close_timeout=min(timeout, 2.0),
      # Every request has a timeout, and the server pings.
      ping_interval=None,
      legacy=True,
    )
  except InvalidStatus as e:
    text = (e.response.body or b"").decode(errors="replace").strip()
    status = e.response.status_code
    # 503 is temporary: the server compiles, drains, or has no connection left.
    error_class = ConnectionLost if status == 503 else GatoError
    raise error_class(f"{url}: {text or f'HTTP status {status}'}") from e
  except ssl.SSLCertVerificationError as e:
    raise GatoError(f"{url}: {e.verify_message}; give the certificate's authority as tls_ca") from e
  except (ConnectionRefusedError, TimeoutError) as e:
    problem = f"no answer within {timeout:g} s"
    if isinstance(e, ConnectionRefusedError):
      problem = "nobody listens"
    raise ConnectionLost(
      f"{url}: {problem}; is the port right, and `python -m experiments.serve` running there?"
    ) from e
  except socket.gaierror as e:
    raise GatoError(f"{url}: no machine of that name is known here: {e.strerror}") from e
  except (OSError, EOFError, InvalidHandshake, InvalidURI, ValueError) as e:
    raise GatoError(f"{url}: {e}; a server with TLS has wss://, one without has ws://") from e


class RemoteActor:
  """Acts through a server for `slots` environments of one task (gato_jax.env.loop.Actor).

  A new episode connects again if the connection or an idle session is gone. Within an episode that
  is an error, because the memory of the episode is gone, too.

  Attributes:
    connection: To the server.
    spec: Of the task, as the checkpoint was trained on it.
  """

  def __init__(self, url: str, task: str, slots: int = 1, **options: Any):
    """Connects, and opens a session for each slot.

    Args:
      url: Of the server.
      task: Name "domain.task".
      slots: Number of environments.
      **options: Those of ClientConnection.
    """
    self._url = url
    self._task = task
    self._slots = slots
    self._options = options
    self._connect()

  def _connect(self) -> None:
    """Connects and opens all sessions; raises without an open connection."""
    self.connection = ClientConnection(self._url, **self._options)
    self._sessions: dict[int, int] = {}

    try:
      for slot in range(self._slots):
        self._open(slot)
      self.spec = self.connection.spec(self._task)
      self.connection.readable_bytes = protocol.readable_bytes([self.spec] * self._slots)
    except GatoError:
      self.connection.close()
      raise

  def _open(self, slot: int) -> None:
    reply = self.connection.request("opened", type="open", task=self._task)
    self._sessions[slot] = reply["session"]

  def check(self, environment: Any) -> None:
    """Compares an environment with the spec that the checkpoint was trained on.

    Raises:
      GatoError: Its observations or actions are different.
    """
    observation = flatten(environment.observation_spec())
    for key in self.spec.scaled:
      # Its bounds are those of the recorded data, which a robot need not know.
      ours, theirs = self.spec.observation[key], observation.get(key)
      if theirs is not None and (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype):
        observation[key] = ours

    spec = TaskSpec(
      self._task,
      observation,
      action=environment.action_spec(),
      max_text_tokens=self.spec.max_text_tokens,
      scaled=self.spec.scaled,
    )
    difference = spec_difference(returns.without_return_to_go(self.spec), spec)
    if difference:
      raise GatoError(
        f"{self._url}: the checkpoint of {self._task} was trained on another spec: {difference}"
      )

  def reset(self, slot: int, seed: int, group: str = "") -> None:
    """Starts an episode in a slot; connects again if the connection is lost.

    Args:
      slot: The slot.
      seed: Seed of the episode.
      group: Name of the episode's group, whose demonstrations are its prompt (act.prompt_group); ""
        where the task has none.
    """
    try:
      self._start(slot, seed, group)
    except ConnectionLost:
      self._reconnect()
      self._start(slot, seed, group)

  def _reconnect(self) -> None:
    """Tries to connect until the timeout has passed."""
    deadline = time.monotonic() + self._options.get("timeout", _TIMEOUT)
    while True:
      try:
        return self._connect()
      except ConnectionLost:
        if time.monotonic() > deadline:
          raise
        time.sleep(_RETRY_SECONDS)

  def _start(self, slot: int, seed: int, group: str) -> None:
    """Starts an episode, in a new session if the server dropped the idle one."""
    try:
      self._request_start(slot, seed, group)
    except RequestRefused as e:
      if e.reason != "unknown_session":
        raise
      self._open(slot)
      self._request_start(slot, seed, group)

  def _request_start(self, slot: int, seed: int, group: str) -> None:
    request = {"type": "start", "session": self._sessions[slot], "seed": seed}
    # Servers that are older than groups understand all other episodes.
    self.connection.request("started", **request, **({"group": group} if group else {}))

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> dict[int, np.ndarray]:
    """Returns an action for each slot's newest timestep."""
    steps = [
      [self._sessions[slot], _observation(self._task, timestep.observation)]
      for slot, timestep in timesteps.items()
    ]
    reply = self.connection.request("actions", type="act", steps=steps)

    actions = dict(reply["actions"])
    return {slot: actions[self._sessions[slot]] for slot in timesteps}

  def close(self) -> None:
    """Ends the connection, which frees the sessions."""
    self.connection.close()

  def __enter__(self) -> "RemoteActor":
    return self

  def __exit__(self, *exception: Any) -> None:
    self.close()


def _largest_field(message: Mapping[str, Any]) -> str:
  """Describes the field that takes most of an `act` message."""
  fields = [field for _, observation in message["steps"] for field in observation.items()]
  key, value = max(fields, key=lambda field: np.asarray(field[1]).nbytes)

  array = np.asarray(value)
  return f"{key!r} of shape {list(array.shape)} has {array.nbytes} bytes of {array.dtype.name}"


def _observation(task: str, observation: Mapping[str, Any]) -> dict[str, np.ndarray | str]:
  """Flattens an observation; texts become str, everything else arrays.

  Raises:
    GatoError: Names a field that cannot be sent.
  """
  flat: dict[str, np.ndarray | str] = {}
  for key, value in flatten(observation).items():
    array = np.asarray(value)
    if array.dtype.kind == "U" and not array.shape:
      flat[key] = str(value)
    elif array.dtype.name in protocol.DTYPES:
      flat[key] = array
    else:
      raise GatoError(
        f"{task}: observation {key!r} is {array.dtype}; only numbers and one text a field can be "
        "sent"
      )

  return flat
