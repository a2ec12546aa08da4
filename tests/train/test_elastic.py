"""Runs that are killed, stopped, moved to other devices and continued.

Their losses equal those of an uninterrupted run.
"""

import os
import pathlib
import signal
import time

import jax
import numpy as np
import pytest
import train_process
from train_process import learned, rows, run, started

from gato_jax.train import checkpoint, loop


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
  """An uninterrupted run of 12 steps on one device."""
  workdir = tmp_path_factory.mktemp("whole")
  status, error = run(workdir, 12)
  assert status == 0, error
  return workdir


def assert_same_run(workdir, whole):
  """Asserts bitwise equal rows, parameters, moments and the rest of the checkpoint."""
  assert learned(workdir) == learned(whole)
  ours, meta, at = checkpoint.load_for_acting(workdir / "checkpoints")
  theirs, other, _ = checkpoint.load_for_acting(whole / "checkpoints")
  assert at == rows(whole)[-1]["step"] and meta["sums"]["optimizer"] == other["sums"]["optimizer"]
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_whole_run_says_what_it_is(whole):
  assert [row["step"] for row in rows(whole)] == [2, 4, 6, 8, 10, 12]

  meta = checkpoint.newest_meta(whole / "checkpoints")

  assert meta["model"] == train_process.CONFIG.to_json() and meta["tokenizer"] == b"pieces"
  assert meta["step"] == meta["total_steps"] == 12

  saved = [row for row in rows(whole) if "save_blocking_seconds" in row]

  assert [row["step"] for row in saved][0] == 6  # the row after the save of step 4
  assert all(0 < row["save_blocking_seconds"] for row in saved)
  assert any("save_background_seconds" in row for row in rows(whole))


# Slow: a minute: four processes one after the other.
@pytest.mark.slow
def test_a_run_killed_three_times_is_the_whole_run(tmp_path, whole):
  for kill in (9, 5, 5):  # the batch of this life; checkpoints are at 4, 8, 12
    status, error = run(tmp_path, 12, f"--kill={kill}")
    assert status == -signal.SIGKILL, error
    with (tmp_path / "metrics.jsonl").open("a") as f:
      f.write('{"step": 11, "lo')  # a line torn by the kill

  assert train_process.newest(tmp_path) < 12

  status, error = run(tmp_path, 12)

  assert status == 0, error
  assert_same_run(tmp_path, whole)


@pytest.mark.slow  # two runs, 20 seconds; test_ending.py has the signal
def test_sigterm_between_two_rows_saves_there_and_goes_on(tmp_path, whole):
  seldom = ("--log_every=100", "--checkpoint_every=100")
  status, error = run(tmp_path, 12, "--sigterm=6", *seldom)

  assert status == loop.PREEMPTED and "SIGTERM: saved step" in error, error

  meta = checkpoint.newest_meta(tmp_path / "checkpoints")

  assert 4 <= meta["step"] < 12 and len(meta["interval"]) == meta["step"] and not rows(tmp_path)

  status, error = run(tmp_path, 12, *seldom)

  assert status == 0, error

  (row,) = rows(tmp_path)  # of all twelve steps, whichever process made them

  assert row["interval_target_tokens"] == sum(r["interval_target_tokens"] for r in rows(whole))
  np.testing.assert_allclose(row["loss"], np.mean([r["loss"] for r in rows(whole)]), rtol=1e-12)
  np.testing.assert_allclose(
    row["gradient_norm"], np.mean([r["gradient_norm"] for r in rows(whole)]), rtol=1e-6
  )

  newest = [checkpoint.newest_meta(workdir / "checkpoints") for workdir in (tmp_path, whole)]

  assert newest[0]["step"] == newest[1]["step"] == 12 and newest[0]["sums"] == newest[1]["sums"]


@pytest.mark.slow
def test_a_run_killed_twenty_times_at_random_moments_is_the_whole_run(tmp_path):
  """Ten kills at any batch or before the first, ten while a checkpoint is being written.

  The moments are counted in batches, since the speed depends on the machine's other work.
  """
  arguments, steps = ("--checkpoint_every=3", "--log_every=1"), 400
  status, error = run(tmp_path / "whole", steps, *arguments)

  assert status == 0, error

  killed, moments, while_saving, random = tmp_path / "killed", [], 0, np.random.default_rng(0)
  lives = random.permutation([0, 1, 2, 4, 6, 8, 10, 12, 14, 16])

  while len(moments) < 20:
    with started(killed, steps, *arguments, "--slow=0.1") as process:
      if len(moments) % 2:
        freeze_while_saving(process, killed)
      else:
        wait_for_batches(process, lives[len(moments) // 2])
        time.sleep(
          random.uniform(0, 0.1 if lives[len(moments) // 2] else 3)
        )  # within a batch, or before the first

      assert process.poll() is None, (
        "the run ended before its twenty kills: " + process.stderr.read()
      )

      os.kill(process.pid, signal.SIGKILL)
      process.wait()

    while_saving += bool(temporary(killed))
    moments.append(train_process.newest(killed))

  print(
    "newest checkpoint at each kill:", moments, "; half-written ones left behind:", while_saving
  )

  assert while_saving >= 10 and moments[-1] > moments[0]

  status, error = run(killed, steps, *arguments)

  assert status == 0, error
  assert_same_run(killed, tmp_path / "whole")


def wait_for_batches(process, count):
  """Waits until this process has asked for that many batches."""
  while count:
    line = process.stdout.readline()
    assert line, process.stderr.read()
    count -= line.startswith("batch ")


def freeze_while_saving(process, workdir):
  """Stops the process with a half-written checkpoint of its own.

  Its next save may be over before it is noticed; then the process goes on.
  """
  wait(process, lambda: not temporary(workdir))  # what the kill before left behind is cleaned up

  while True:
    wait(process, lambda: temporary(workdir))
    process.send_signal(signal.SIGSTOP)
    if temporary(workdir):
      return
    process.send_signal(signal.SIGCONT)


def wait(process, condition):
  until = time.monotonic() + train_process.TIMEOUT
  while not condition():
    assert process.poll() is None and time.monotonic() < until, process.stderr.read()
    time.sleep(0.001)


def temporary(workdir):
  """Directories of checkpoints that are being written."""
  return list((workdir / "checkpoints").glob("*orbax-checkpoint-tmp*"))
