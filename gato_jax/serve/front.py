"""What stands before the first message: sockets, HTTP, the token. Nothing here knows what a policy is."""

import asyncio
import dataclasses
import functools
import hmac
import http
import os
import pathlib
import ssl

import websockets.asyncio.server
from websockets.http11 import Request, Response

from gato_jax.errors import GatoError
from gato_jax.serve import protocol
from gato_jax.serve.metrics import Metrics

TOKEN_VARIABLE = "GATO_SERVE_TOKEN"
_TOKEN_LENGTH = 16  # characters at least
_WRONG_TOKEN_SECONDS = 1.0  # until it is told so
_WRITE_BUFFER = 64 * 1024  # bytes of replies that a client has not read yet


@dataclasses.dataclass(frozen=True)
class Address:
  """Where to listen and who may come in.

  Attributes:
    host: name or IP address. port: 0 picks a free one.
    token: required on any address that is not loopback.
    tls_cert, tls_key: PEM files; both or none.
    plain_text: allows a token to travel unencrypted to other machines.
  """

  host: str = "127.0.0.1"
  port: int = 8000
  token: str = ""
  tls_cert: str = ""
  tls_key: str = ""
  plain_text: bool = False

  def __post_init__(self):
    if self.token and (len(self.token) < _TOKEN_LENGTH or not self.token.isascii() or not self.token.isprintable()):
      raise GatoError(
        f"the token must have at least {_TOKEN_LENGTH} printable ASCII characters; make one with: openssl rand -hex 32"
      )
    if bool(self.tls_cert) != bool(self.tls_key):
      raise GatoError("--tls_cert and --tls_key go together; give both or none")
    if protocol.is_loopback(self.host):
      return
    if not self.token:
      raise GatoError(
        f"{self.host} can be reached from other machines and there is no token; put one into a file for --token_file "
        f"or into ${TOKEN_VARIABLE}, or serve on 127.0.0.1"
      )
    if not self.tls_cert and not self.plain_text:
      raise GatoError(
        f"the token would travel to {self.host} unencrypted; give --tls_cert and --tls_key, or --plain_text where a "
        "VPN or a proxy on the same network encrypts"
      )

  @property
  def scheme(self) -> str:
    return "wss" if self.tls_cert else "ws"

  def ssl_context(self) -> ssl.SSLContext | None:
    if not self.tls_cert:
      return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
      context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")
    except (OSError, ssl.SSLError) as e:
      raise GatoError(f"--tls_cert {self.tls_cert}, --tls_key {self.tls_key}: {e}") from e
    return context


def read_token(path: str) -> str:
  """The token in a file that only its owner reads, or else in the environment; "" where there is none."""
  if not path:
    return os.environ.get(TOKEN_VARIABLE, "").strip()
  try:
    mode = pathlib.Path(path).stat().st_mode
    text = pathlib.Path(path).read_text().strip()
  except (OSError, UnicodeDecodeError) as e:
    raise GatoError(f"--token_file {path}: {e}") from e
  if mode & 0o077:
    raise GatoError(f"--token_file {path} can be read by others; chmod 600 {path}")
  if not text:
    raise GatoError(f"--token_file {path} is empty")
  return text


class Door:
  """Lets connections in, answers /health, /ready and /metrics on the same port.

  Attributes:
    open: connections past their handshake; `limit` at most.
    state: "compiling", "ready" or "draining".
  """

  def __init__(self, address: Address, limit: int, metrics: Metrics):
    self._address, self._limit, self._metrics = address, limit, metrics
    self._knocking: dict[Connection, None] = {}  # in the order they came
    self.open: set[Connection] = set()
    self.state = "compiling"

  def refuse(self, connection: "Connection", status: int, reason: str, text: str) -> Response:
    self._metrics.refused.labels(reason).inc()
    return connection.respond(status, f"{text}\n")

  async def answer(self, connection: "Connection", request: Request) -> Response | None:
    """HTTP: a response, or None to go on with the WebSocket handshake (websockets' process_request)."""
    path = request.path.partition("?")[0]
    if path == "/health":
      return connection.respond(http.HTTPStatus.OK, "ok\n")
    if path == "/ready":
      return connection.respond(200 if self.state == "ready" else 503, f"{self.state}\n")
    if path not in ("/", "/metrics"):
      return connection.respond(http.HTTPStatus.NOT_FOUND, "there are /health, /ready, /metrics and a WebSocket on /\n")
    if not self._knows_token(request):
      await asyncio.sleep(_WRONG_TOKEN_SECONDS)
      return self.refuse(connection, 401, "token", "no token or a wrong one; the server's token is needed")
    if path == "/metrics":
      return connection.respond(http.HTTPStatus.OK, self._metrics.text())
    if self.state == "compiling":
      return self.refuse(connection, 503, "not_ready", "the server still compiles; try again in a minute")
    if self.state == "draining":
      return self.refuse(connection, 503, "draining", "the server is shutting down and takes no new sessions")
    if len(self.open) >= self._limit:
      return self.refuse(connection, 503, "connection_limit", f"all {self._limit} connections are taken")
    return None

  def _knows_token(self, request: Request) -> bool:
    if not self._address.token:
      return True
    values = request.headers.get_all("Authorization")
    given = values[0].encode("utf-8", "replace") if len(values) == 1 else b""
    return hmac.compare_digest(given, f"Bearer {self._address.token}".encode())

  def knock(self, connection: "Connection") -> None:
    """A socket was accepted. Where too many have not shaken hands, the one that waits longest goes."""
    self._knocking[connection] = None
    if len(self._knocking) > self._limit:
      oldest = next(iter(self._knocking))
      self._metrics.refused.labels("connection_limit").inc()
      oldest.transport.abort()

  def enter(self, connection: "Connection") -> None:
    self._knocking.pop(connection, None)
    self.open.add(connection)
    self._metrics.connections.set(len(self.open))

  def leave(self, connection: "Connection") -> None:
    """The socket is closed; a handshake that was none, or took too long, is counted."""
    if connection in self._knocking:
      del self._knocking[connection]
      if connection.protocol.handshake_exc:
        self._metrics.refused.labels("malformed").inc()
      elif connection.request is None:
        self._metrics.refused.labels("too_slow").inc()
    self.open.discard(connection)
    self._metrics.connections.set(len(self.open))

  def drop_unread(self, connection: "Connection") -> None:
    self._metrics.refused.labels("not_reading").inc()
    connection.transport.abort()


class Connection(websockets.asyncio.server.ServerConnection):
  """A connection that the door knows from its first byte to its last."""

  def __init__(self, door: Door, *arguments, **keywords):
    super().__init__(*arguments, **keywords)
    self._door = door

  def connection_made(self, transport: asyncio.BaseTransport) -> None:
    super().connection_made(transport)
    self._door.knock(self)

  def connection_lost(self, exc: Exception | None) -> None:
    self._door.leave(self)  # before websockets takes the end of a silent socket for a malformed request
    super().connection_lost(exc)

  def data_received(self, data: bytes) -> None:
    super().data_received(data)
    if self.transport.get_write_buffer_size() > 2 * _WRITE_BUFFER:  # pings, whose answers it does not read
      self._door.drop_unread(self)

  def limit_messages(self, size: int) -> None:
    """No message may be longer than `size` bytes from now on."""
    self.protocol.max_message_size = size


def listen(door: Door, address: Address, handler, first_message_bytes: int, seconds: float):
  """The websockets server on `address`; a context manager. seconds: for a handshake, and for a farewell."""
  return websockets.asyncio.server.serve(
    handler,
    address.host,
    address.port,
    ssl=address.ssl_context(),
    origins=[None],  # a browser names an origin: no page that somebody opens here talks to a robot
    compression=None,  # no bombs; observations are small or noise
    process_request=door.answer,
    server_header=None,
    open_timeout=seconds,
    close_timeout=min(seconds, 2.0),
    max_size=first_message_bytes,
    max_queue=2,  # frames: a client waits for its reply before it sends more
    write_limit=_WRITE_BUFFER,
    create_connection=functools.partial(Connection, door),
  )
