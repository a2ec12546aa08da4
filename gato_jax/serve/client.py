"""A served policy as an actor, for robots and simulators elsewhere: NumPy, msgpack, websockets; no JAX, no TensorFlow.

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

from gato_jax import specs
from gato_jax.errors import GatoError
from gato_jax.serve import protocol
from gato_jax.serve.protocol import Refused

_RETRY_SECONDS = 0.25


class Lost(GatoError):
  """The server is not there, or not any more; a new connection may be tried."""


class Connection:
  """One connection to a server, used from one thread.

  Attributes:
    tasks: "domain.task" names that it serves. step: training step of its checkpoint.
    readable_bytes: a longer message would end the connection, so it is refused here.
  """

  readable_bytes: float = math.inf

  def __init__(
    self, url: str, *, token: str | None = None, timeout: float = 10.0, tls_ca: str = "", plain_text: bool = False
  ):
    """Connects.

    Args:
      url: ws://host:port or wss://host:port.
      token: the server's; needed unless it is on loopback without one.
      timeout: seconds for connecting and for each reply.
      tls_ca: PEM file of the authority, or of the certificate itself where nobody signed it.
      plain_text: allows the token to travel unencrypted to another machine.

    Raises:
      Lost: nobody answers there. GatoError: the server refuses, or the arguments cannot work.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.hostname:
      raise GatoError(f"{url!r} is no address of a server; it looks like ws://127.0.0.1:8000 or wss://host:8000")
    local = protocol.is_loopback(parts.hostname)
    if token and parts.scheme == "ws" and not local and not plain_text:
      raise GatoError(f"the token would travel to {parts.hostname} unencrypted; use wss://, or plain_text=True")
    self.url, self._timeout = url, timeout
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
      context = ssl.create_default_context(cafile=tls_ca or None) if parts.scheme == "wss" else None
      self._socket = websockets.sync.client.connect(
        url,
        ssl=context,
        additional_headers=headers,
        compression=None,
        proxy=None if local else True,
        open_timeout=timeout,
        close_timeout=min(timeout, 2.0),
        ping_interval=None,  # every request has a timeout, and the server pings
        legacy=True,
      )
    except InvalidStatus as e:
      text = (e.response.body or b"").decode(errors="replace").strip()
      error = Lost if e.response.status_code == 503 else GatoError
      raise error(f"{url}: {text or f'HTTP status {e.response.status_code}'}") from e
    except ssl.SSLCertVerificationError as e:
      raise GatoError(f"{url}: {e.verify_message}; give the certificate's authority as tls_ca") from e
    except (ConnectionRefusedError, TimeoutError) as e:
      what = "nobody listens" if isinstance(e, ConnectionRefusedError) else f"no answer within {timeout:g} s"
      raise Lost(f"{url}: {what}; is the port right, and `python -m experiments.serve` running there?") from e
    except socket.gaierror as e:
      raise GatoError(f"{url}: no machine of that name is known here: {e.strerror}") from e
    except (OSError, EOFError, InvalidHandshake, InvalidURI, ValueError) as e:
      raise GatoError(f"{url}: {e}; a server with TLS has wss://, one without has ws://") from e
    # The kernel's limit for sends: a server that stands still must not hold a robot for ever.
    limit = struct.pack("ll", int(timeout), int(timeout % 1 * 1e6))
    self._socket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    welcome = self.request("welcome", type="hello", version=protocol.VERSION)
    self.tasks: list[str] = welcome["tasks"]
    self.step: int = welcome["step"]

  def spec(self, task: str) -> specs.TaskSpec:
    """What the checkpoint was trained on."""
    return specs.TaskSpec.from_json(self.request("spec", type="spec", task=task)["spec"])

  def request(self, reply_type: str, **message: Any) -> dict[str, Any]:
    """The reply to a message. Refused where the server says no; Lost where it says nothing."""
    try:
      data = protocol.encode(message)
      if len(data) > self.readable_bytes:
        raise Refused(
          "too_large", f"{_largest_field(message)}; the server reads messages of {self.readable_bytes} bytes"
        )
      self._socket.send(data)
      reply = protocol.decode(self._socket.recv(self._timeout))
    except TimeoutError as e:
      self.close()  # a late reply would be taken for the next one's
      raise Lost(f"{self.url}: no reply within {self._timeout:g} s") from e
    except ConnectionClosed as e:
      why = e.rcvd.reason if e.rcvd and e.rcvd.reason else "it broke off"
      raise Lost(f"{self.url}: the connection has ended: {why}") from e
    except TypeError as e:
      raise GatoError(f"{self.url}: {e}") from e
    if reply["type"] == "error":
      raise Refused(reply.get("reason", ""), f"{self.url}: {reply.get('message')}")
    if reply["type"] != reply_type:
      raise GatoError(f"{self.url}: {reply['type']!r} where {reply_type!r} was expected; is it of the same version?")
    return reply

  def close(self) -> None:
    """Ends the connection and the sessions in it."""
    self._socket.close()


class RemoteActor:
  """Acts through a server for `slots` environments of one task (environment_loop.Actor).

  A new episode connects again where the connection, or an idle session, is gone; within an episode that is an error,
  for the memory of the episode is gone, too.

  Attributes:
    connection: to the server. spec: of the task, as the checkpoint was trained on.
  """

  def __init__(self, url: str, task: str, slots: int = 1, **options: Any):
    """Connects, and takes a session for each slot. options: those of `Connection`."""
    self._url, self._task, self._slots, self._options = url, task, slots, options
    self._connect()

  def _connect(self) -> None:
    self.connection = Connection(self._url, **self._options)
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
    self._sessions[slot] = self.connection.request("opened", type="open", task=self._task)["session"]

  def check(self, environment: Any) -> None:
    """GatoError when the environment's observations or actions are not what the checkpoint was trained on."""
    observation, action = specs.flatten(environment.observation_spec()), environment.action_spec()
    theirs = specs.TaskSpec(self._task, observation, action, self.spec.max_text_tokens)
    difference = specs.difference(self.spec.without_return_to_go(), theirs)
    if difference:
      raise GatoError(f"{self._url}: the checkpoint of {self._task} was trained on another spec: {difference}")

  def reset(self, slot: int, seed: int) -> None:
    try:
      self._start(slot, seed)
    except Lost:
      until = time.monotonic() + self._options.get("timeout", 10.0)
      while True:
        try:
          self._connect()
          break
        except Lost:
          if time.monotonic() > until:
            raise
          time.sleep(_RETRY_SECONDS)
      self._start(slot, seed)

  def _start(self, slot: int, seed: int) -> None:
    try:
      self.connection.request("started", type="start", session=self._sessions[slot], seed=seed)
    except Refused as e:
      if e.reason != "unknown_session":
        raise
      self._open(slot)
      self.connection.request("started", type="start", session=self._sessions[slot], seed=seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> dict[int, np.ndarray]:
    steps = [[self._sessions[slot], _observation(self._task, t.observation)] for slot, t in timesteps.items()]
    actions = dict(self.connection.request("actions", type="act", steps=steps)["actions"])
    return {slot: actions[self._sessions[slot]] for slot in timesteps}

  def close(self) -> None:
    """Gives the sessions back."""
    self.connection.close()

  def __enter__(self) -> "RemoteActor":
    return self

  def __exit__(self, *exception: Any) -> None:
    self.close()


def _largest_field(message: Mapping[str, Any]) -> str:
  """Names the field of an `act` message that takes most of it."""
  fields = [field for _, observation in message["steps"] for field in observation.items()]
  key, value = max(fields, key=lambda field: np.asarray(field[1]).nbytes)
  array = np.asarray(value)
  return f"{key!r} of shape {list(array.shape)} has {array.nbytes} bytes of {array.dtype.name}"


def _observation(task: str, observation: Mapping[str, Any]) -> dict[str, np.ndarray | str]:
  """Flat; texts as str, everything else as arrays. GatoError names a field that cannot be sent."""
  flat: dict[str, np.ndarray | str] = {}
  for key, value in specs.flatten(observation).items():
    array = np.asarray(value)
    if array.dtype.kind == "U" and not array.shape:
      flat[key] = str(value)
    elif array.dtype.name in protocol.DTYPES:
      flat[key] = array
    else:
      raise GatoError(f"{task}: observation {key!r} is {array.dtype}; only numbers and one text a field can be sent")
  return flat
