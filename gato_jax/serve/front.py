"""Listens for connections, answers HTTP requests and checks the token.

This is all that happens before a connection's first message; nothing here depends on policies.
"""

import asyncio
import dataclasses
import functools
import hmac
import http
import os
import pathlib
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import websockets.asyncio.server
from websockets.http11 import Request, Response

from gato_jax.errors import GatoError
from gato_jax.serve import protocol
from gato_jax.serve.metrics import Metrics

TOKEN_VARIABLE = "GATO_SERVE_TOKEN"
_MIN_TOKEN_LENGTH = 16  # characters
_WRONG_TOKEN_SECONDS = 1.0  # delay of the answer, which slows down guessing
_WRITE_BUFFER = 64 * 1024  # bytes of replies that a client has not read yet


@dataclasses.dataclass(frozen=True)
class Address:
  """Address to listen on, and the security of its connections.

  Attributes:
    host: Name or IP address.
    port: 0 picks a free one.
    token: Required on any address that is not loopback.
    tls_cert: PEM file of the certificate; given together with `tls_key`.
    tls_key: PEM file of its key.
    plain_text: Allows a token to travel unencrypted to other machines.
  """

  host: str = "127.0.0.1"
  port: int = 8000
  token: str = ""
  tls_cert: str = ""
  tls_key: str = ""
  plain_text: bool = False

  def __post_init__(self):
    is_printable = self.token.isascii() and self.token.isprintable()
    if self.token and (len(self.token) < _MIN_TOKEN_LENGTH or not is_printable):
      raise GatoError(
        f"the token must have at least {_MIN_TOKEN_LENGTH} printable ASCII characters; make one "
        "with: openssl rand -hex 32"
      )
    if bool(self.tls_cert) != bool(self.tls_key):
      raise GatoError("--tls_cert and --tls_key go together; give both or none")

    if protocol.is_loopback(self.host):
      return
    if not self.token:
      raise GatoError(
        f"{self.host} can be reached from other machines and there is no token; put one into a "
        f"file for --token_file or into ${TOKEN_VARIABLE}, or serve on 127.0.0.1"
      )
    if not self.tls_cert and not self.plain_text:
      raise GatoError(
        f"the token would travel to {self.host} unencrypted; give --tls_cert and --tls_key, or "
        "--plain_text where a VPN or a proxy on the same network encrypts"
      )

  @property
  def scheme(self) -> str:
    """Scheme of the URL: wss with TLS, else ws."""
    return "wss" if self.tls_cert else "ws"

  def ssl_context(self) -> ssl.SSLContext | None:
    """Returns the TLS settings; None without TLS.

    Raises:
      GatoError: The files are missing or no certificate and key.
    """
    if not self.tls_cert:
      return None

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
      # A password, because OpenSSL would ask for one on the terminal if the key is encrypted.
      context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: "")
    except (OSError, ssl.SSLError) as e:
      raise GatoError(f"--tls_cert {self.tls_cert}, --tls_key {self.tls_key}: {e}") from e
    return context


def read_token(path: str) -> str:
  """Reads the token from a file, or from the environment where `path` is empty.

  Returns:
    The token, or "" where there is none.

  Raises:
    GatoError: The file cannot be read, is empty, or can be read by others than its owner.
  """
  if not path:
    return os.environ.get(TOKEN_VARIABLE, "").strip()

  try:
    mode = pathlib.Path(path).stat().st_mode
    token = pathlib.Path(path).read_text().strip()
  except (OSError, UnicodeDecodeError) as e:
    raise GatoError(f"--token_file {path}: {e}") from e

  if mode & 0o077:
    raise GatoError(f"--token_file {path} can be read by others; chmod 600 {path}")
  if not token:
    raise GatoError(f"--token_file {path} is empty")
  return token


class Admission:
  """Admits connections up to a limit, and answers /health, /ready and /metrics on the same port.

  Attributes:
    connections: Those past their handshake.
    state: "compiling", "ready" or "draining".
  """

  def __init__(self, address: Address, limit: int, metrics: Metrics):
    """Starts in the state "compiling".

    Args:
      address: Has the token.
      limit: Number of connections, and of further ones before their handshake.
      metrics: Counts refusals and connections.
    """
    self._address = address
    self._limit = limit
    self._metrics = metrics
    # A dict as an ordered set: the oldest connection comes first.
    self._before_handshake: dict[ServerConnection, None] = {}
    self.connections: set[ServerConnection] = set()
    self.state = "compiling"

  async def process_request(
    self, connection: websockets.asyncio.server.ServerConnection, request: Request
  ) -> Response | None:
    """Answers an HTTP request, or returns None to continue with the WebSocket handshake."""
    path = request.path.partition("?")[0]
    if path == "/health":
      return connection.respond(http.HTTPStatus.OK, "ok\n")
    if path == "/ready":
      status = 200 if self.state == "ready" else 503
      return connection.respond(http.HTTPStatus(status), f"{self.state}\n")
    if path not in ("/", "/metrics"):
      return connection.respond(
        http.HTTPStatus.NOT_FOUND, "there are /health, /ready, /metrics and a WebSocket on /\n"
      )

    def refuse(status: int, reason: str, text: str) -> Response:
      self._metrics.refused.labels(reason).inc()
      return connection.respond(http.HTTPStatus(status), f"{text}\n")

    # Everything else needs the token.
    if not self._has_token(request):
      await asyncio.sleep(_WRONG_TOKEN_SECONDS)
      return refuse(401, "token", text="no token or a wrong one; the server's token is needed")
    if path == "/metrics":
      return connection.respond(http.HTTPStatus.OK, self._metrics.text())

    if self.state == "compiling":
      return refuse(503, "not_ready", text="the server still compiles; try again in a minute")
    if self.state == "draining":
      return refuse(503, "draining", text="the server is shutting down and takes no new sessions")
    if len(self.connections) >= self._limit:
      return refuse(503, "connection_limit", text=f"all {self._limit} connections are taken")
    return None

  def _has_token(self, request: Request) -> bool:
    if not self._address.token:
      return True

    # Several headers could mean different things to a proxy and to this server.
    values = request.headers.get_all("Authorization")
    header = values[0].encode("utf-8", "replace") if len(values) == 1 else b""
    return hmac.compare_digest(header, f"Bearer {self._address.token}".encode())

  def on_accepted(self, connection: "ServerConnection") -> None:
    """Registers an accepted socket.

    If too many have not finished their handshake, the one that has waited longest is closed.
    """
    self._before_handshake[connection] = None
    if len(self._before_handshake) > self._limit:
      oldest = next(iter(self._before_handshake))
      self._metrics.refused.labels("connection_limit").inc()
      oldest.transport.abort()

  def on_handshake(self, connection: "ServerConnection") -> None:
    """Counts a connection whose handshake is finished."""
    self._before_handshake.pop(connection, None)
    self.connections.add(connection)
    self._metrics.connections.set(len(self.connections))

  def on_closed(self, connection: "ServerConnection") -> None:
    """Removes a connection; counts a handshake that was malformed or took too long."""
    if connection in self._before_handshake:
      del self._before_handshake[connection]
      if connection.protocol.handshake_exc:
        self._metrics.refused.labels("malformed").inc()
      elif connection.request is None:
        self._metrics.refused.labels("too_slow").inc()

    self.connections.discard(connection)
    self._metrics.connections.set(len(self.connections))

  def drop_unread(self, connection: "ServerConnection") -> None:
    """Closes a connection whose client does not read what is sent."""
    self._metrics.refused.labels("not_reading").inc()
    connection.transport.abort()


class ServerConnection(websockets.asyncio.server.ServerConnection):
  """A connection that reports to the admission from its first byte to its last."""

  def __init__(self, admission: Admission, *arguments: Any, **keywords: Any):
    super().__init__(*arguments, **keywords)
    self._admission = admission

  def connection_made(self, transport: asyncio.BaseTransport) -> None:
    super().connection_made(transport)
    self._admission.on_accepted(self)

  def connection_lost(self, exc: Exception | None) -> None:
    # First, because websockets takes the end of a silent socket for a malformed request.
    self._admission.on_closed(self)
    super().connection_lost(exc)

  def data_received(self, data: bytes) -> None:
    super().data_received(data)

    # websockets answers pings itself. A client that does not read the answers fills the buffer.
    if self.transport.get_write_buffer_size() > 2 * _WRITE_BUFFER:
      self._admission.drop_unread(self)

  def limit_messages(self, size: int) -> None:
    """Refuses messages of more than `size` bytes from now on."""
    self.protocol.max_message_size = size


def listen(
  admission: Admission,
  address: Address,
  handler: Callable[[Any], Awaitable[None]],
  *,
  first_message_bytes: int,
  seconds: float,
) -> Awaitable[websockets.asyncio.server.Server]:
  """Starts the websockets server on an address, when it is awaited.

  Args:
    admission: Decides about connections.
    address: To listen on.
    handler: Called with each ServerConnection after its handshake.
    first_message_bytes: Limit of messages before `limit_messages` is called.
    seconds: Time limit of a handshake, and of a closing handshake.
  """
  return websockets.asyncio.server.serve(
    handler,
    address.host,
    address.port,
    ssl=address.ssl_context(),
    # Browsers send an origin: no page that somebody opens on this machine may talk to a robot.
    origins=[None],
    # Compressed messages can be bombs; observations are small, or images with little to gain.
    compression=None,
    process_request=admission.process_request,
    server_header=None,
    open_timeout=seconds,
    close_timeout=min(seconds, 2.0),
    max_size=first_message_bytes,
    # Frames that are read ahead: a client waits for its reply before it sends more.
    max_queue=2,
    write_limit=_WRITE_BUFFER,
    # websockets only calls it, with the arguments of its own class.
    create_connection=functools.partial(ServerConnection, admission),  # type: ignore[arg-type]
  )
