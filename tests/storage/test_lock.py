"""A directory has one writer, and a killed one does not keep it."""

import json
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time

import psutil
import pytest

from gato_jax.errors import GatoError
from gato_jax.storage import lock, lock_holder

HOLD = textwrap.dedent("""
  import pathlib, sys
  from gato_jax.storage import lock
  with lock.only_writer(pathlib.Path(sys.argv[1]), "train"):
    print("holds", flush=True)
    sys.stdin.read()
""")


def write(folder, host, pid, began):
  (folder / "train.lock").write_text(json.dumps({"host": host, "pid": pid, "began": began}))


def test_a_second_writer_is_refused_by_name_until_the_first_has_ended(tmp_path):
  command = [sys.executable, "-c", HOLD, str(tmp_path)]
  with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
    assert first.stdout.readline() == "holds\n"
    with pytest.raises(
      GatoError, match=rf"{tmp_path}: process {first.pid} on {socket.gethostname()} writes here"
    ):
      with lock.only_writer(tmp_path, "train"):
        pass

    with lock.only_writer(tmp_path, "evaluate"):  # beside a training
      pass
    first.stdin.close()

    assert first.wait() == 0

  with lock.only_writer(tmp_path, "train"):
    pass


def test_what_a_kill_leaves_is_taken(tmp_path):
  command = [sys.executable, "-c", HOLD, str(tmp_path)]
  with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
    assert first.stdout.readline() == "holds\n"
    first.send_signal(signal.SIGKILL)

  assert json.loads((tmp_path / "train.lock").read_text())["pid"] == first.pid

  with lock.only_writer(tmp_path, "train"):
    pass
  (tmp_path / "train.lock").write_text('{"host": "a", "pi')  # killed while it wrote
  with lock.only_writer(tmp_path, "train"):
    pass


def test_the_content_decides_where_the_system_has_no_locks(tmp_path):
  """The lock counts while its process runs on this host.

  A process that has the same number now but began later is another one.
  """
  parent = psutil.Process().parent()
  write(tmp_path, socket.gethostname(), parent.pid, parent.create_time())

  with (
    pytest.raises(GatoError, match=f"process {parent.pid} on"),
    lock.only_writer(tmp_path, "train"),
  ):
    pass

  write(tmp_path, socket.gethostname(), parent.pid, parent.create_time() - 1000)
  with lock.only_writer(tmp_path, "train"):
    pass


@pytest.mark.parametrize("lives", [True, False])
def test_another_host_is_believed_as_long_as_its_heart_beats(tmp_path, monkeypatch, lives):
  monkeypatch.setattr(lock_holder, "BEAT_SECONDS", 0.2)
  monkeypatch.setattr(lock_holder, "PATIENCE_SECONDS", 2.0)
  write(tmp_path, "elsewhere", 1, 0.0)
  ended = threading.Event()

  def beat():
    while lives and not ended.wait(0.1):
      (tmp_path / "train.lock").touch()

  heart = threading.Thread(target=beat)
  heart.start()

  try:
    if lives:
      with pytest.raises(
        GatoError, match=r"process 1 on elsewhere writes here \(train\).*delete .*train.lock where"
      ):
        with lock.only_writer(tmp_path, "train"):
          pass
    else:
      with lock.only_writer(tmp_path, "train"):
        before = lock._changed(tmp_path / "train.lock")
        until = time.monotonic() + 30
        while lock._changed(tmp_path / "train.lock") == before:  # now ours beats
          assert time.monotonic() < until
          time.sleep(0.05)
  finally:
    ended.set()
    heart.join()
