"""Two processes train as one: same losses, same stop, same refusals.

None waits for one that has ended.
"""

import contextlib
import json
import shutil
import signal
import sys

import numpy as np
import pytest
import train_process
from test_checkpoint import damage
from train_process import rows, run, run_two

from gato_jax.errors import GatoError
from gato_jax.train import checkpoint, loop, multihost

pytestmark = pytest.mark.alone  # only a fresh JAX can join other processes

AGREEMENTS = """
import os, signal, sys
from gato_jax.train import multihost
from gato_jax.errors import GatoError

def refuse(message):
  raise GatoError(message)

def attempt(function, *arguments):
  try:
    return function(*arguments)
  except GatoError as e:
    return str(e)

process = int(sys.argv[2])
with multihost.joined(*((sys.argv[1], 2, process) if sys.argv[1] else ())):
  print(multihost.is_first(), multihost.from_first(lambda: {"from": process}), multihost.together(os.getpid))
  print(attempt(multihost.together, lambda: refuse("no file") if process else 1))
  print(attempt(multihost.from_first, lambda: refuse("no seed") if not process else 1))
  print(attempt(multihost.check_same, "config", "same"), attempt(multihost.check_same, "config", f"seed={process}"))
  with multihost.stop_requests() as stop_requested:
    for i in range(9):
      if i == 4 and process == 1:
        os.kill(os.getpid(), signal.SIGTERM)
      if stop_requested():
        print("stops at", i)
        break
  refuse("all end here")
"""


@pytest.mark.parametrize("where", ["anywhere", "slurm"])
def test_processes_agree(where):
  host, _, port = train_process.free_address().partition(":")
  slurm = {
    "SLURM_JOB_ID": "1",
    "SLURM_STEP_NODELIST": host,
    "SLURM_NTASKS": "2",
    "JAX_COORDINATOR_PORT": port,
  }
  command, variables = [sys.executable, "-c", AGREEMENTS, f"{host}:{port}"], [{}, {}]

  if where == "slurm":  # what srun tells its tasks; nothing else is given
    command[-1], variables = (
      "",
      [{**slurm, "SLURM_PROCID": i, "SLURM_LOCALID": i} for i in ("0", "1")],
    )

  with (
    train_process.process([*command, "0"], environment=variables[0]) as one,
    train_process.process([*command, "1"], environment=variables[1]) as two,
  ):
    both = (one, two)
    ended = [each.communicate(timeout=train_process.TIMEOUT) for each in both]

  for i, (printed, error) in enumerate(ended):
    assert both[i].returncode == 1 and f"process {i} of 2 ends: all end here" in error, error
    assert [line for line in printed.splitlines() if "Gloo" not in line] == [
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
    with multihost.joined(*arguments):  # no cluster here: one process, and nothing is started
      assert multihost.from_first(lambda: 3) == multihost.together(lambda: 3) == 3
    return
  with pytest.raises(GatoError, match=said), multihost.joined(*arguments):
    pass


def losses(workdir):
  return [[row[name] for name in ("loss", "loss/one.a", "gradient_norm")] for row in rows(workdir)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
  """Runs of 12 steps on one device, on eight of one process, and on changing devices.

  The last is on one, then on four each of two processes, then on eight of one.
  """
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


# Slow: four minutes: 12 steps on 1, 2 x 4 and 8 devices; test_sharding compares meshes in one process.
@pytest.mark.slow
def test_losses_do_not_depend_on_devices_and_processes(runs):
  folder, _, between = runs
  assert 5 < between < 12
  for name in ("eight", "moved"):
    assert [row["step"] for row in rows(folder / name)] == [2, 4, 6, 8, 10, 12]
    np.testing.assert_allclose(losses(folder / name), losses(folder / "one"), rtol=1e-5)
    assert rows(folder / name)[-1]["tokens"] == rows(folder / "one")[-1]["tokens"]


# Slow: it compares with the runs of the test above; test_launch_slurm.py stops two processes too.
@pytest.mark.slow
def test_sigterm_to_one_stops_both_at_the_same_step(runs):
  _, stopped, between = runs
  assert [status for status, _ in stopped] == [loop.PREEMPTED] * 2, stopped
  assert all(f"SIGTERM: saved step {between} in" in error for _, error in stopped)
  assert "train:" in stopped[0][1] and "train:" not in stopped[1][1]  # one progress bar


@pytest.mark.slow
def test_minutes_are_planned_by_the_first_process_for_both(tmp_path):
  for status, error in run_two(tmp_path, 0, "--mesh=2,2,2", "--minutes=0.01"):
    assert status == 0, error
  planned = json.loads((tmp_path / "plan.json").read_text())

  assert planned["steps"] == rows(tmp_path)[-1]["step"] == train_process.newest(tmp_path) >= 1

  for status, error in run_two(tmp_path, 0, "--mesh=2,2,2", "--minutes=0.05"):
    assert status == 0, error
  extended = json.loads((tmp_path / "plan.json").read_text())

  assert (
    extended["minutes"] == 0.05
    and extended["steps"] == train_process.newest(tmp_path) >= planned["steps"]
  )


def verb(tfds, workdir, *arguments, processes):
  """Exit statuses and standard errors of `experiments.train` on the dummy domain."""
  command = [
    *(sys.executable, "-m", "experiments.train", "--config=experiments/configs/dummy.py"),
    *(f"--config.data_dir={tfds.parent}", f"--config.workdir={workdir}", "--config.train.steps=12"),
    *("--config.train.log_every=4", "--config.train.checkpoint_every=8", *arguments),
  ]
  commands = [command]
  if processes > 1:
    command += [f"--coordinator={train_process.free_address()}", f"--processes={processes}"]
    commands = [[*command, f"--process={i}"] for i in range(processes)]

  with contextlib.ExitStack() as stack:
    started = [stack.enter_context(train_process.process(each)) for each in commands]
    errors = [each.communicate(timeout=train_process.TIMEOUT)[1] for each in started]
    return [(each.returncode, error) for each, error in zip(started, errors, strict=True)]


@pytest.mark.slow
def test_the_verb_trains_on_real_data_in_two_processes(dummy_tfds, tmp_path):
  """Two processes train, and one continues the run, whose mixture is recorded.

  Another mixture is refused by name, or accepted with a message.
  """
  (alone,) = verb(dummy_tfds, tmp_path / "one", processes=1)

  assert alone[0] == 0, alone[1]

  for status, error in verb(dummy_tfds, tmp_path / "two", processes=2):
    assert status == 0, error
  for ours, theirs in zip(rows(tmp_path / "two"), rows(tmp_path / "one"), strict=True):
    np.testing.assert_allclose(ours["loss"], theirs["loss"], rtol=1e-5)
    assert ours.keys() - {"save_background_seconds"} == theirs.keys() - {"save_background_seconds"}

  assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(
    p.name for p in (tmp_path / "one").iterdir()
  )

  refused = verb(dummy_tfds, tmp_path / "two", "--config.data.seed=3", processes=2)

  for status, error in refused:
    assert (
      status == 1
      and "started with data.seed=0, now it is 3" in error
      and "--accept_changes" in error
    ), error

  longer = ("--config.data.seed=3", "--accept_changes", "--config.train.steps=16")
  ((status, error),) = verb(dummy_tfds, tmp_path / "two", *longer, processes=1)

  assert status == 0 and "step 12 was trained with data.seed=0, now it is 3" in error, error
  assert "16 steps instead of 12" in error and rows(tmp_path / "two")[-1]["step"] == 16


# Slow: a minute: two processes three times.
@pytest.mark.slow
def test_damage_and_an_error_in_one_process_are_for_both(runs, tmp_path):
  """Both fall back to the same step, and an error of one ends the other as well."""
  shutil.copytree(runs[0] / "eight", tmp_path, dirs_exist_ok=True)
  damage(tmp_path / "checkpoints" / "12" / "optimizer", "changed")
  ended = run_two(tmp_path, 16, "--mesh=2,2,2", "--farewell=10", second=["--fail=3"])
  for status, error in ended:
    assert status not in (0, loop.PREEMPTED)
    assert "12: cannot be read" in error and "trying the one before" in error

  assert "process 1 of 2 ends: corrupt record 7" in ended[1][1]
  assert rows(tmp_path)[-1]["step"] == 10  # from step 8 on, not from 12


@pytest.mark.slow  # it waits until the other is missed
def test_a_killed_process_ends_the_other(tmp_path):
  (status, error), (killed, _) = run_two(
    tmp_path, 100, "--mesh=2,2,2", "--heartbeat=60", second=["--kill=6"]
  )
  assert killed == -signal.SIGKILL and status not in (0, loop.PREEMPTED)
  assert "process 0 of 2 ends" in error or "another task died" in error, error[-2000:]
  assert checkpoint.newest_meta(tmp_path / "checkpoints")["step"] >= 4
