"""experiments.dagger as a person runs it: rounds of corrections within one training run."""

import json
import pathlib

import commands
import pytest

from gato_jax.env import logs

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPISODES = 2


def run(verb, tmp_path, *flags):
  sizes = "layers=1 heads=2 width=32 feed_forward=64 key_size=16 patch_channels=32"
  settings = [f"model.{size}" for size in sizes.split()]
  settings += [
    f"data_dir={tmp_path}/data",
    f"workdir={tmp_path}/run",
    "train.steps=9",
    "train.batch_size=4",
    "train.checkpoint_every=100",
    "train.log_every=1",
    "data.sequence_length=128",
    "collect.episodes=5",
    f"dagger.episodes={EPISODES}",
    "evaluate.workers=2",
  ]
  done = commands.run(
    f"experiments.{verb}",
    "--config=experiments/configs/dummy.py",
    *(f"--config.{setting}" for setting in settings),
    *flags,
  )
  return done.returncode, done.stdout + done.stderr


@pytest.mark.slow  # a dozen processes that import JAX or TensorFlow
def test_two_rounds_within_one_run_and_nothing_twice(tmp_path):
  for verb in ("collect", "build"):
    status, output = run(verb, tmp_path)
    assert status == 0, output

  status, output = run("dagger", tmp_path, "--rounds=2")

  assert status == 0, output

  # Two rounds of each task, all of them corrections of the checkpoint that paused for them.
  for task in ("reach", "reach_discrete"):
    rows = logs.rows(logs.task_directory(tmp_path / "run/corrections/raw", "dummy", task))
    assert [row.actor for row in rows] == ["gato, step 3"] * EPISODES + ["gato, step 6"] * EPISODES

  lines = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
  metrics = [json.loads(line) for line in lines]

  assert [row["step"] for row in metrics] == list(range(1, 10))
  assert "loss/dummy.reach (corrections)" not in metrics[2]
  assert any("(corrections)" in key for row in metrics[3:] for key in row)

  # The same command again finds everything done.
  status, output = run("dagger", tmp_path, "--rounds=2")

  assert status == 0 and output.count("all episodes of round") == 2, output


def test_a_share_of_nothing_is_refused(tmp_path):
  status, output = run("dagger", tmp_path, "--config.data.corrections=0")
  assert status == 1
  assert output.strip().splitlines()[-1].startswith("error: data.corrections=0")
