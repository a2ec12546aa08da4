"""A server says how it is, and ends without cutting off what it promised."""

import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import pytest
import served
from served import first, play, serve

from gato_jax.errors import GatoError
from gato_jax.serve import client
from gato_jax.serve.client import RemoteActor

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def engine(small_workdir):
  return served.engine(small_workdir)


class Slow:
  """The engine, but compiling waits for the test."""

  def __init__(self, engine):
    self._engine, self.go, self.compiled = engine, threading.Event(), False

  def __getattr__(self, name):
    return getattr(self._engine, name)

  def compile(self, on_shape):
    on_shape("first")
    assert self.go.wait(300)
    on_shape("second")
    self.compiled = True


def test_health_readiness_and_metrics(engine):
  slow = Slow(engine)
  with serve(slow, ready=False) as server:
    assert server.get("/health") == (200, "ok\n") and server.get("/ready") == (503, "compiling\n")
    with pytest.raises(client.ConnectionLost, match="still compiles"):
      RemoteActor(server.url, "dummy.reach")

    slow.go.set()
    server.wait_until_ready()

    assert server.get("/ready") == (200, "ready\n") and server.get("/nothing")[0] == 404

    with RemoteActor(server.url, "dummy.reach") as actor:
      lengths = [len(actions) for actions in play(actor, "reach", [1, 2]).values()]
      text = server.get("/metrics")[1]

    for line in (
      f'gato_serve_steps_total{{task="dummy.reach"}} {sum(lengths):.1f}',
      'gato_serve_episodes_total{task="dummy.reach"} 2.0',
      f"gato_serve_step_seconds_count {sum(lengths):.1f}",
      f'gato_serve_batch_size_bucket{{le="1.0"}} {sum(lengths):.1f}',
      "gato_serve_sessions 1.0",
      "gato_serve_connections 1.0",
      "gato_serve_ready 1.0",
      'gato_serve_refused_total{reason="not_ready"} 1.0',
      'gato_serve_refused_total{reason="malformed"} 0.0',
    ):
      assert line in text.splitlines(), f"{line} is not in\n{text}"

    assert "process_resident_memory_bytes" in text


def test_a_server_that_drains_while_it_compiles_ends(engine):
  slow = Slow(engine)
  with serve(slow, ready=False) as server:
    served.wait_for(lambda: "compiling first" in server.said)
    server.drain()
    served.wait_for(
      lambda: "draining" in server.said
    )  # the batcher says its first shape before the server has it
    served.wait_for(lambda: server.server._batcher._stop)
    slow.go.set()
    server.join()

  assert "ready" not in server.said and not slow.compiled


def test_draining_lets_an_episode_finish_and_begins_none(engine):
  with serve(engine, drain_seconds=600) as server:
    actor = RemoteActor(server.url, "dummy.reach")
    actor.reset(0, 1)
    actor.act({0: first()})
    server.drain()
    while server.get("/ready") != (503, "draining\n"):
      time.sleep(0.01)

    with pytest.raises(GatoError, match="shutting down and takes no new sessions"):
      RemoteActor(server.url, "dummy.reach")

    actor.act({0: first()})

    with pytest.raises(GatoError, match="starts no new episodes"):
      actor.reset(0, 2)

    server.join()  # long before drain_seconds

  assert server.error is None


def test_draining_cuts_off_what_takes_too_long(engine):
  with serve(engine, drain_seconds=0.2) as server:
    actor = RemoteActor(server.url, "dummy.reach")
    actor.reset(0, 1)
    server.drain()
    server.join()
    with pytest.raises(client.ConnectionLost, match="the server is shutting down"):
      actor.act({0: first()})

  assert "1 episodes are cut off" in server.said


def test_the_verb_drains_on_sigterm(small_workdir, tmp_path):
  """The whole command: it prints its address, plays, and leaves with status 0 after SIGTERM and the
  episode's end.
  """
  command = [sys.executable, "-m", "experiments.serve", "--config=experiments/configs/dummy.py"]
  command += [
    f"--config.workdir={small_workdir}",
    "--config.serve.sessions=2",
    "--tasks=dummy.reach",
    "--port=0",
  ]
  process = subprocess.Popen(
    command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )

  try:
    url = None
    for line in process.stdout:
      url = url or re.search(r"listening on (ws://127\.0\.0\.1:\d+)", line)
      if line == "serve: ready\n":
        break

    with RemoteActor(url[1], "dummy.reach") as actor:
      actor.reset(0, 1)
      actor.act({0: first()})
      process.send_signal(signal.SIGTERM)
      while process.stdout.readline() != "serve: draining\n":
        assert process.poll() is None
      actor.act({0: first()})

    assert process.wait(300) == 0, process.stderr.read()
  finally:
    process.kill()
    process.communicate()
