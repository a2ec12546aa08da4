"""Runs record their provenance; Weights & Biases gets their rows.

Its failures do not end training.
"""

import json
import logging
import os
import pathlib
import subprocess
import sys

import pytest
import train_process
import wandb
from tiny_run import TINY
from wandb.proto import wandb_internal_pb2

from gato_jax.train import provenance, tracking

START = provenance.this("here", 3, "0" * 64, 0, 1, 1, "cpu")
ROWS = [
  {"step": 1, "loss": 2.5},
  {"step": 2, "loss": 1.25},
  {"step": 2, "loss": 1.5},
]  # step 2 again, after going back


@pytest.fixture(autouse=True)
def a_service_of_its_own():
  """wandb reads its environment once per process, until it is torn down."""
  yield
  wandb.teardown()


def records(workdir: pathlib.Path) -> list[wandb_internal_pb2.Record]:
  """Records that wandb kept of an offline run.

  The file is a LevelDB log, 32 KiB blocks of [checksum 4, length 2, kind 1, data].
  """
  wandb.teardown()  # its service may still be writing what a finished run said last
  (path,) = workdir.glob("wandb/offline-run-*/*.wandb")
  data, at, whole, found = path.read_bytes(), 7, b"", []  # behind the file's header

  while at + 7 <= len(data):
    if 32768 - at % 32768 < 7:
      at += 32768 - at % 32768
      continue

    length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
    whole += data[at + 7 : at + 7 + length]
    at += 7 + length
    if kind in (1, 4):  # all of it, or its last part
      found.append(wandb_internal_pb2.Record.FromString(whole))
      whole = b""

  return found


def history(workdir: pathlib.Path) -> list[dict]:
  rows = []
  for record in records(workdir):
    if record.HasField("history"):
      row = {
        item.key or "/".join(item.nested_key): json.loads(item.value_json)
        for item in record.history.item
      }
      rows.append({name: value for name, value in row.items() if not name.startswith("_")})

  return rows


def test_rows_and_config_reach_wandb(tmp_path, monkeypatch):
  monkeypatch.setenv("WANDB_MODE", "offline")
  with tracking.tracker("wandb", tmp_path, START, {"train": {"steps": 3}}) as track:
    for row in ROWS:
      track(row)

  assert history(tmp_path) == ROWS

  (metric,) = [record.metric for record in records(tmp_path) if record.HasField("metric")]

  assert (metric.glob_name, metric.step_metric) == ("*", "step")

  (run,) = [record.run for record in records(tmp_path) if record.HasField("run")]
  config = {update.key: json.loads(update.value_json) for update in run.config.update}

  assert run.display_name == tmp_path.name and config["train"] == {"steps": 3}
  assert config["start"]["revision"] == START.revision and config["start"]["packages"]["jax"]
  assert run.run_group == START.name
  assert run.run_id == (tmp_path / "wandb_id").read_text()  # the same when it is started again


def logged(caplog) -> str:
  (record,) = [
    r for r in caplog.records if r.levelno >= logging.WARNING and r.name.startswith("gato_jax")
  ]
  return record.getMessage()


def test_without_the_package_training_goes_on(tmp_path, monkeypatch, caplog):
  monkeypatch.setitem(sys.modules, "wandb", None)
  with tracking.tracker("wandb", tmp_path, START, {}) as track:
    track(ROWS[0])
  assert "pip install wandb" in logged(caplog)


def test_a_service_that_is_not_there_is_said_once(tmp_path, monkeypatch, caplog):
  monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
  monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
  monkeypatch.setattr(tracking, "_START_SECONDS", 2)
  with tracking.tracker("wandb", tmp_path, START, {}) as track:
    for row in ROWS:
      track(row)

  assert "wandb failed to start" in logged(caplog) and "training goes on" in logged(caplog)


def test_what_fails_in_the_middle_is_said_once(tmp_path, monkeypatch, caplog):
  monkeypatch.setenv("WANDB_MODE", "offline")
  with tracking.tracker("wandb", tmp_path, START, {}) as track:
    track({"step": 1, "loss": object()})  # nothing that wandb can write
    track(ROWS[1])
  assert "wandb failed to log" in logged(caplog)


def test_an_error_of_training_is_not_swallowed(tmp_path, monkeypatch):
  monkeypatch.setenv("WANDB_MODE", "offline")
  with pytest.raises(ZeroDivisionError), tracking.tracker("wandb", tmp_path, START, {}):
    raise ZeroDivisionError
  (end,) = [record.exit for record in records(tmp_path) if record.HasField("exit")]
  assert end.exit_code == 1


@pytest.mark.slow  # two processes that train
def test_training_tells_wandb_and_says_where_it_comes_from(tmp_path, dummy_tfds):
  command = [
    sys.executable,
    "-m",
    "experiments.train",
    "--config=experiments/configs/dummy.py",
    "--tracker=wandb",
  ]
  command += [*TINY, f"--config.data_dir={dummy_tfds.parent}", f"--config.workdir={tmp_path / 'w'}"]
  command += [
    "--config.train.seed=5",
    "--config.train.validation_batches=1",
    "--config.data.validation_every=5",
  ]
  environment = os.environ | {"WANDB_MODE": "offline", "GATO_REVISION": "f" * 40}
  done = subprocess.run(
    [*command, "--config.train.steps=2"],
    cwd=train_process.ROOT,
    env=environment,
    capture_output=True,
    text=True,
    timeout=train_process.TIMEOUT,
  )

  assert done.returncode == 0, done.stderr

  *tracked, logged = history(tmp_path / "w")

  assert tracked == [
    json.loads(line) for line in (tmp_path / "w/metrics.jsonl").read_text().splitlines()
  ]
  assert (
    logged["validation/loss"] == json.loads((tmp_path / "w/validation.json").read_text())["loss"]
  )

  (start,) = provenance.read(tmp_path / "w")  # tests/launch/test_launch_slurm.py starts a run twice

  assert (start.name, start.seed, start.step, start.revision) == ("dummy", 5, 0, "f" * 40)
  assert (
    start.packages["flax"]
    and "-m experiments.train" in start.command
    and "--config.train.seed=5" in start.command
  )


def test_the_revision_is_that_of_the_tree(monkeypatch):
  asked = ["git", "rev-parse", "HEAD"]
  head = subprocess.run(
    asked, cwd=train_process.ROOT, capture_output=True, text=True
  ).stdout.strip()

  assert provenance.revision().removesuffix("+") == head

  monkeypatch.setenv("PATH", "")

  assert provenance.revision() == ""
