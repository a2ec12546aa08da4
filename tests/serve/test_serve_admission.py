"""Serving: who is let in: addresses, tokens, TLS, handshakes, HTTP; the limit on connections."""

import contextlib
import datetime
import ipaddress
import os
import pathlib
import re
import socket
import time

import commands
import pytest
import served
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from served import first, raw, serve, still_serves, wait_for
from websockets.exceptions import InvalidStatus

from gato_jax.errors import GatoError
from gato_jax.serve import client, front
from gato_jax.serve.client import RemoteActor

TOKEN = "a-token-of-thirty-two-characters"


@pytest.fixture(scope="module")
def engine(small_workdir):
  return served.engine(small_workdir, prompt="none")


@pytest.fixture
def server(engine):
  with serve(engine, handshake_seconds=60.0) as running:
    yield running


@pytest.fixture
def good(server):
  """A client that plays on while others misbehave."""
  with RemoteActor(server.url, "dummy.reach") as actor:
    actor.reset(0, 1)
    yield actor


@pytest.mark.parametrize(
  "start",
  [b"", b"GET / HTTP/1.1\r\nHost: x\r\n", b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nX-Slow: "],
)
def test_a_handshake_that_takes_too_long_is_ended(engine, start):
  with (
    serve(engine, handshake_seconds=2.0) as server,
    RemoteActor(server.url, "dummy.reach") as good,
  ):
    good.reset(0, 1)
    with socket.create_connection(("127.0.0.1", server.server.port)) as slow:
      slow.settimeout(120)
      slow.sendall(start)
      with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the server has had enough
        for _ in range(2000 if start else 0):  # who says nothing only waits for the end
          time.sleep(0.05)
          slow.sendall(b"x")
        assert slow.recv(100) == b""

    wait_for(lambda: server.metric("refused_total", reason="too_slow") == 1)
    still_serves(server, good)


def test_connections_are_limited(engine):
  with serve(engine, connections=3) as server, RemoteActor(server.url, "dummy.reach") as good:
    good.reset(0, 1)
    others = [raw(server), raw(server)]

    with pytest.raises(client.ConnectionLost, match="all 3 connections are taken"):
      RemoteActor(server.url, "dummy.reach", timeout=60)

    for other in others:
      other.close()

    # Sockets that do not shake hands: the oldest makes room for who comes, so the good client is
    # let in.
    sockets = [socket.create_connection(("127.0.0.1", server.server.port)) for _ in range(10)]
    wait_for(lambda: server.metric("refused_total", reason="connection_limit") == 8)
    still_serves(server, good)
    for one in sockets:
      one.settimeout(0.5)
    with contextlib.suppress(ConnectionResetError):
      assert sockets[0].recv(1) == b""

    with pytest.raises(TimeoutError):
      sockets[-1].recv(1)

    for one in sockets:
      one.close()


@pytest.mark.parametrize(
  ("request_bytes", "status"),
  [
    (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", b""),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"426"),
    (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", b"414"),
    (b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n", b"431"),
    (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 300 + b"\r\n", b"431"),
    (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b""),
    (b"GET /metrics HTTP/1.1\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", b"200"),
  ],
)
def test_http_that_is_none(server, good, request_bytes, status):
  with socket.create_connection(("127.0.0.1", server.server.port)) as connection:
    connection.settimeout(10)
    connection.sendall(request_bytes)
    reply = b""
    with contextlib.suppress(ConnectionResetError):
      while data := connection.recv(65536):
        reply += data

  assert (reply.split(b" ")[1:2] or [b""])[0] in (status, b"405"), reply[:200]

  still_serves(server, good)


def test_pages_in_a_browser_are_refused(server):
  """A page of any site may open a WebSocket to this machine.

  Browsers then say where the page is from.
  """
  with pytest.raises(InvalidStatus, match="403"):
    raw(server, origin="http://127.0.0.1")


def test_tokens(engine, monkeypatch):
  monkeypatch.setattr(front, "_WRONG_TOKEN_SECONDS", 0.05)
  with serve(engine, front.Address(port=0, token=TOKEN)) as server:
    for wrong in (None, TOKEN[:-1], TOKEN + "x", "é" * 16):
      with pytest.raises(GatoError, match="no token or a wrong one|ascii|latin"):
        RemoteActor(server.url, "dummy.reach", token=wrong)

    two = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer other")]

    with pytest.raises(InvalidStatus, match="401"):
      raw(server, additional_headers=two)
    assert server.metric("refused_total", reason="token") >= 4
    assert server.get("/health")[0] == server.get("/ready")[0] == 200
    assert server.get("/metrics")[0] == 401
    assert server.get("/metrics", Authorization=f"Bearer {TOKEN}")[0] == 200

    with RemoteActor(server.url, "dummy.reach", token=TOKEN) as actor:
      actor.reset(0, 1)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    (dict(host="0.0.0.0"), "there is no token"),
    (dict(host="::"), "there is no token"),
    (dict(host="robots.example"), "there is no token"),
    (dict(host="0.0.0.0", token=TOKEN), "unencrypted; give --tls_cert"),
    (dict(token="short"), "at least 16"),
    (dict(tls_cert="a.pem"), "go together"),
  ],
)
def test_an_open_address_is_refused(options, message):
  with pytest.raises(GatoError, match=message):
    front.Address(**options)


def test_addresses_that_may_be_open():
  for options in (dict(), dict(host="::1"), dict(host="localhost"), dict(host="127.0.0.2")):
    front.Address(**options)
  front.Address(host="0.0.0.0", token=TOKEN, plain_text=True)
  front.Address(host="0.0.0.0", token=TOKEN, tls_cert="a.pem", tls_key="b.pem")
  with pytest.raises(GatoError, match="unencrypted; use wss"):
    client.ClientConnection("ws://robots.example:8000", token=TOKEN)


def test_a_token_comes_from_a_private_file_or_the_environment(tmp_path, monkeypatch):
  monkeypatch.delenv(front.TOKEN_VARIABLE, raising=False)
  assert front.read_token("") == ""

  monkeypatch.setenv(front.TOKEN_VARIABLE, TOKEN)

  assert front.read_token("") == TOKEN

  path = tmp_path / "token"
  path.write_text(TOKEN + "\n")
  path.chmod(0o644)

  with pytest.raises(GatoError, match="can be read by others; chmod 600"):
    front.read_token(str(path))

  path.chmod(0o600)

  assert front.read_token(str(path)) == TOKEN
  with pytest.raises(GatoError, match="No such file"):
    front.read_token(str(tmp_path / "none"))


def certificate(folder: pathlib.Path, name: str) -> tuple[str, str]:
  """Paths of a self-signed certificate for 127.0.0.1 and its key."""
  key = ec.generate_private_key(ec.SECP256R1())
  subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
  now = datetime.datetime.now(datetime.UTC)
  address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
  builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
  builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(
    now + datetime.timedelta(1)
  )
  signed = builder.add_extension(address, False).sign(key, hashes.SHA256())
  pem = serialization.Encoding.PEM
  (folder / f"{name}.pem").write_bytes(signed.public_bytes(pem))
  secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
  (folder / f"{name}.key").write_bytes(secret)
  return str(folder / f"{name}.pem"), str(folder / f"{name}.key")


def test_tls(engine, tmp_path):
  cert, key = certificate(tmp_path, "ours")
  other, _ = certificate(tmp_path, "other")

  with serve(engine, front.Address(port=0, token=TOKEN, tls_cert=cert, tls_key=key)) as server:
    assert server.url.startswith("wss://")

    with RemoteActor(server.url, "dummy.reach", token=TOKEN, tls_ca=cert) as actor:
      actor.reset(0, 1)
      assert actor.act({0: first()})[0].shape == (2,)

    for ca in ("", other):
      with pytest.raises(
        GatoError, match="certificate; give the certificate's authority as tls_ca"
      ):
        RemoteActor(server.url, "dummy.reach", token=TOKEN, tls_ca=ca)

    with pytest.raises(GatoError, match="a server with TLS has wss://"):
      RemoteActor(server.url.replace("wss", "ws"), "dummy.reach", token=TOKEN)

  with serve(engine) as server, pytest.raises(GatoError, match="one without has ws://"):
    RemoteActor(server.url.replace("ws", "wss"), "dummy.reach")

  with pytest.raises(GatoError, match="--tls_cert .*other.pem, --tls_key"):
    front.Address(tls_cert=other, tls_key=key).ssl_context()


def test_bad_flags_of_the_verb_are_one_line(small_workdir):
  environment = {k: v for k, v in os.environ.items() if k != front.TOKEN_VARIABLE}
  arguments = ("--config=experiments/configs/dummy.py", "--host=0.0.0.0")
  done = commands.run("experiments.serve", *arguments, env=environment)

  assert done.returncode == 1
  assert re.fullmatch(
    r"error: 0\.0\.0\.0 can be reached .* there is no token; .*\n", done.stderr
  ), done.stderr
