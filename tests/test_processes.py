"""Two processes train as one: same losses, same stop, same refusals, and none waits for one that is gone."""

import os
import shutil
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest

from gato_jax import checkpoint, distributed
from gato_jax.errors import GatoError
from gato_jax.train import loop
from tests import train_process
from tests.test_checkpoint import damage
from tests.train_process import rows, run, run_two

AGREEMENTS = """
import os, signal, sys
from gato_jax import distributed
from gato_jax.errors import GatoError

def refuse(message):
  raise GatoError(message)

def attempt(function, *arguments):
  try:
    return function(*arguments)
  except GatoError as e:
    return str(e)

process = int(sys.argv[2])
with distributed.joined(sys.argv[1], 2, process, 60):
  print(distributed.is_first(), distributed.from_first(lambda: {"from": process}), distributed.together(os.getpid))
  print(attempt(distributed.together, lambda: refuse("no file") if process else 1))
  print(attempt(distributed.from_first, lambda: refuse("no seed") if not process else 1))
  print(attempt(distributed.check_same, "config", "same"), attempt(distributed.check_same, "config", f"seed={process}"))
  with distributed.stop_requests() as stop_requested:
    for i in range(9):
      if i == 4 and process == 1:
        os.kill(os.getpid(), signal.SIGTERM)
      if stop_requested():
        print("stops at", i)
        break
  refuse("all end here")
"""


def test_processes_agree():
  with socket.socket() as free:
    free.bind(("localhost", 0))
    address = f"localhost:{free.getsockname()[1]}"
  command, environment = [sys.executable, "-c", AGREEMENTS, address], {**os.environ, "JAX_PLATFORMS": "cpu"}
  both = [
    subprocess.Popen(
      [*command, str(i)], env=environment, cwd=train_process.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    for i in (0, 1)
  ]
  try:
    ended = [process.communicate(timeout=train_process.TIMEOUT) for process in both]
  finally:
    for process in both:
      process.kill()
  for i, (printed, error) in enumerate(ended):
    assert both[i].returncode == 1 and f"process {i} of 2 ends: all end here" in error.decode(), error.decode()
    assert [line for line in printed.decode().splitlines() if "Gloo" not in line] == [
      f"{i == 0} {{'from': 0}} {both[i].pid}",
      "process 1: no file",
      "no seed",
      "None process 1 was started with another config than process 0; start all with the same",
      "stops at 5",
    ]


@pytest.mark.parametrize(
  "arguments, said",
  [
    ((), None),
    (("localhost:1",), "processes, process missing"),
    (("localhost", 2, 0), "no host:port"),
    (("localhost:1", 2, 2), "numbered from 0"),
  ],
)
def test_joining_needs_all_or_nothing(arguments, said):
  if said is None:
    with distributed.joined(*arguments):  # no cluster here: one process, and nothing is started
      assert distributed.from_first(lambda: 3) == distributed.together(lambda: 3) == 3
    return
  with pytest.raises(GatoError, match=said), distributed.joined(*arguments):
    pass


def losses(workdir):
  return [[row[name] for name in ("loss", "loss/one.a", "gradient_norm")] for row in rows(workdir)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """12 steps on one device; on 8 of one process; and on one, then 4 each of two processes, then 8 of one."""
  folder = tmp_path_factory.mktemp("runs")
  for name, mesh, devices in (("one", "1,1,1", 1), ("eight", "4,1,2", 8)):
    status, error = run(folder / name, 12, f"--mesh={mesh}", devices=devices)
    assert status == 0, error
  status, error = run(folder / "moved", 12, "--sigterm=3")
  assert status == loop.PREEMPTED, error
  stopped = run_two(folder / "moved", 12, "--mesh=2,2,2", second=["--sigterm=6", "--slow=0.1"])
  between = train_process.newest(folder / "moved")
  status, error = run(folder / "moved", 12, "--mesh=1,4,2", devices=8)
  assert status == 0, error
  return folder, stopped, between


def test_losses_do_not_depend_on_devices_and_processes(runs):
  folder, _, between = runs
  assert 5 < between < 12
  for name in ("eight", "moved"):
    assert [row["step"] for row in rows(folder / name)] == [2, 4, 6, 8, 10, 12]
    np.testing.assert_allclose(losses(folder / name), losses(folder / "one"), rtol=1e-5)
    assert rows(folder / name)[-1]["tokens"] == rows(folder / "one")[-1]["tokens"]


def test_sigterm_to_one_stops_both_at_the_same_step(runs):
  _, stopped, between = runs
  assert [status for status, _ in stopped] == [loop.PREEMPTED] * 2, stopped
  assert all(f"SIGTERM: saved step {between} in" in error for _, error in stopped)
  assert "train:" in stopped[0][1] and "train:" not in stopped[1][1]  # one progress bar


def test_damage_and_an_error_in_one_process_are_for_both(runs, tmp_path):
  """Both fall back to the same step, and an error of one ends the other as well."""
  shutil.copytree(runs[0] / "eight", tmp_path, dirs_exist_ok=True)
  damage(tmp_path / "checkpoints" / "12" / "optimizer", "changed")
  ended = run_two(tmp_path, 16, "--mesh=2,2,2", "--farewell=5", second=["--fail=3"])
  for status, error in ended:
    assert status not in (0, loop.PREEMPTED)
    assert "12: cannot be read" in error and "trying the one before" in error
  assert "process 1 of 2 ends: corrupt record 7" in ended[1][1]
  assert rows(tmp_path)[-1]["step"] == 10  # from step 8 on, not from 12


def test_a_killed_process_ends_the_other(tmp_path):
  (status, error), (killed, _) = run_two(tmp_path, 100, "--mesh=2,2,2", "--farewell=5", second=["--kill=6"])
  assert killed == -signal.SIGKILL and status not in (0, loop.PREEMPTED)
  assert "process 0 of 2 ends" in error or "another task died" in error, error[-2000:]
  assert checkpoint.newest_meta(tmp_path / "checkpoints")["step"] >= 4
