"""Serving: messages that are wrong, endless or unread are refused, and nobody else notices."""

import contextlib
import pathlib
import re
import socket
import time

import hypothesis
import numpy as np
import pytest
import served
from hypothesis import strategies as st
from messages import MINE, REQUESTS, SETTINGS, mine, observation
from served import first, raw, serve, still_serves, wait_for
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from gato_jax.serve import protocol
from gato_jax.serve.client import RemoteActor

ROOT = pathlib.Path(__file__).resolve().parents[2]
HELLO = {"type": "hello", "version": protocol.VERSION}
UPGRADE = (
  b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
  b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


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


def talk(server, messages):
  """The types and reasons of the replies to some messages (dict or bytes), "closed" where the
  server had enough.
  """
  replies, session = [], 0

  with contextlib.closing(raw(server)) as connection:
    for message in messages:
      if isinstance(message, dict):
        message = protocol.encode(mine(message, session))
      try:
        connection.send(message)
        reply = protocol.decode(connection.recv(60))
      except ConnectionClosed as e:
        assert e.rcvd and e.rcvd.code != 1011, "an error of the server's own"
        return [*replies, "closed"]

      session = reply.get("session", session)
      replies.append(reply["reason"] if reply["type"] == "error" else reply["type"])

  return replies


@SETTINGS
@hypothesis.given(
  st.lists(st.binary(max_size=300) | REQUESTS, min_size=1, max_size=5), st.sampled_from([0, 1, 3])
)
def test_any_messages_in_any_order_disturb_nobody(server, good, messages, greeted):
  playing = [
    HELLO,
    {"type": "open", "task": "dummy.reach"},
    {"type": "start", "session": MINE, "seed": 1},
  ]
  replies = talk(server, [*playing[:greeted], *messages])

  assert set(replies) <= {
    *protocol.REASONS,
    "welcome",
    "spec",
    "opened",
    "started",
    "actions",
    "closed",
  }

  still_serves(server, good)


@SETTINGS
@hypothesis.given(st.data())
def test_a_valid_message_with_wrong_bytes_disturbs_nobody(server, good, data):
  """An act message, some bytes of it changed, cut or doubled."""
  with contextlib.closing(raw(server)) as connection:
    for message in (HELLO, {"type": "open", "task": "dummy.reach"}):
      connection.send(protocol.encode(message))
      reply = protocol.decode(connection.recv(60))

    session = reply["session"]
    connection.send(protocol.encode({"type": "start", "session": session, "seed": 1}))

    assert protocol.decode(connection.recv(60))["type"] == "started"

    content = bytearray(protocol.encode({"type": "act", "steps": [[session, observation()]]}))
    for _ in range(data.draw(st.integers(1, 6))):
      at = data.draw(st.integers(0, 80) | st.integers(0, 10_000)) % len(content)
      content[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))

    connection.send(bytes(content))
    reply = protocol.decode(connection.recv(60))

    assert reply["type"] == "actions" or reply["reason"] in (
      "malformed",
      "observation",
      "unknown_session",
    )

  still_serves(server, good)


def test_the_order_of_messages(server, good):
  session = {"type": "start", "session": 10**6, "seed": 1}
  assert talk(server, [{"type": "open", "task": "dummy.reach"}]) == ["order"]
  assert talk(server, [HELLO | {"version": 2}, HELLO]) == ["version", "closed"]
  assert talk(server, [HELLO, HELLO, session]) == ["welcome", "order", "unknown_session"]
  assert talk(server, ["text", HELLO]) == ["malformed", "closed"]

  theirs = good._sessions[0]
  stolen = [{"type": kind, "session": theirs, "seed": 1} for kind in ("start", "close")]
  stolen.append({"type": "act", "steps": [[theirs, {"clock": np.zeros(1)}]]})

  assert talk(server, [HELLO, *stolen]) == ["welcome", *["unknown_session"] * 3]

  still_serves(server, good)


@pytest.mark.parametrize(
  "frame", [b"\x83\x80\0\0\0\0", b"\x82\x01x", b"\xf2\x80\0\0\0\0", b"\x81\x81\0\0\0\0\xff"]
)
def test_frames_that_are_none_end_the_connection(server, good, frame):
  """An unknown opcode, no mask, reserved bits, a text that is not UTF-8."""
  with contextlib.closing(raw(server)) as broken:
    broken.send(protocol.encode(HELLO))
    broken.recv(60)
    broken.socket.sendall(frame)
    with pytest.raises(ConnectionClosed):
      broken.recv(60)

  wait_for(lambda: server.metric("refused_total", reason="malformed") == 1)
  still_serves(server, good)


def test_messages_that_are_far_too_long_are_not_read(server, good):
  before = server.metric("refused_total", reason="too_large")
  assert talk(server, [b"x" * 2000]) == ["closed"]
  assert talk(server, [HELLO, b"x" * 2000]) == [
    "welcome",
    "closed",
  ]  # no session: no room for an observation

  task = served.SPECS["dummy.reach"]
  size, most = protocol.message_bytes([task]), protocol.readable_bytes([task])
  spec = {"type": "spec", "task": "dummy.reach"}
  opened = [HELLO, {"type": "open", "task": "dummy.reach"}]

  assert talk(server, [*opened, b"x" * most, spec]) == ["welcome", "opened", "malformed", "spec"]
  assert talk(server, [*opened, spec | {"more": b"x" * size}, spec]) == [
    "welcome",
    "opened",
    "too_large",
    "spec",
  ]
  assert talk(server, [*opened, b"x" * (most + 1)]) == ["welcome", "opened", "closed"]

  wait_for(lambda: server.metric("refused_total", reason="too_large") == before + 4)
  still_serves(server, good)


FRAME = first().observation["camera"]


@pytest.mark.parametrize(
  ("field", "value", "reason", "said"),
  [
    (
      "camera",
      np.tile(FRAME, (2, 2, 1)),
      "observation",
      "'camera' has shape [64, 96, 3], the spec says [32, 48, 3]",
    ),
    (
      "camera",
      np.float32(FRAME) / 255,
      "observation",
      "'camera' has dtype float32, the spec wants uint8",
    ),
    (
      "camera",
      np.tile(np.float64(FRAME), (4, 4, 1)),
      "observation",
      "'camera' has shape [128, 192, 3]",
    ),
    (
      "depth",
      np.zeros((160, 160), np.float32),
      "observation",
      "a field 'depth', the spec only ['body/position', ",
    ),
    ("depth", np.zeros(3), "observation", "a field 'depth', the spec only ['body/position', "),
    (
      "camera",
      np.zeros((720, 1280, 3), np.uint8),
      "too_large",
      "'camera' of shape [720, 1280, 3] has 2764800 bytes",
    ),
    ("instruction", np.array("go " * 9000), "observation", "'instruction' takes "),
  ],
)
def test_an_observation_that_is_wrong_is_refused_by_name_and_the_episode_goes_on(
  server, good, field, value, reason, said
):
  """Whatever its size: a client that sends floats for pixels sends four times as much."""
  timestep = first()
  expected = good.act({0: timestep})[0]
  good.reset(0, 1)

  with pytest.raises(protocol.RequestRefused, match=re.escape(said)) as refusal:
    good.act({0: timestep._replace(observation={**timestep.observation, field: value})})
  assert refusal.value.reason == reason and len(server.server.sessions) == 1
  np.testing.assert_array_equal(
    good.act({0: timestep})[0], expected
  )  # the episode's first step, as if nothing was

  still_serves(server, good)


def test_a_hello_and_a_message_that_never_end_are_not_waited_for(engine):
  with serve(engine, handshake_seconds=2.0, idle_seconds=3.0) as server:
    with (
      contextlib.closing(raw(server)) as silent,
      pytest.raises(ConnectionClosed, match="no request for 2 s"),
    ):
      silent.recv(60)

    with contextlib.closing(raw(server)) as slow:
      slow.send(protocol.encode(HELLO))
      slow.recv(60)

      def drip():
        while True:
          yield b"x"
          time.sleep(0.05)

      with pytest.raises(ConnectionClosed, match="no request for 3 s"):
        slow.send(drip())

    assert (
      server.metric("refused_total", reason="too_slow")
      == server.metric("refused_total", reason="idle")
      == 1
    )


@pytest.mark.parametrize("flood", ["requests", "pings"])
def test_a_client_that_reads_nothing_is_dropped(engine, flood):
  """Its replies would fill the server's memory."""
  with serve(engine, send_seconds=0.5) as server, RemoteActor(server.url, "dummy.reach") as good:
    good.reset(0, 1)
    with socket.socket() as deaf:  # websockets' own client always reads
      deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
      deaf.settimeout(120)
      deaf.connect(("127.0.0.1", server.server.port))
      deaf.sendall(UPGRADE)

      assert deaf.recv(4096).startswith(b"HTTP/1.1 101")

      request = protocol.encode({"type": "spec", "task": "dummy.reach"})
      frame = Frame(Opcode.PING, b"p" * 125) if flood == "pings" else Frame(Opcode.BINARY, request)
      deaf.sendall(Frame(Opcode.BINARY, protocol.encode(HELLO)).serialize(mask=True))
      with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # the server has had enough
        for _ in range(100_000):
          deaf.sendall(100 * frame.serialize(mask=True))

      wait_for(lambda: server.metric("refused_total", reason="not_reading") == 1)

    still_serves(server, good)
