"""Opens what we build by TFDS and rlds alone, as other trainers do."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import rlds
import tensorflow_datasets as tfds

import rlds_builders
from gato_jax.domain import SimulatedDomain
from gato_jax.env import collect, log_files, logs
from rlds_builders.base import rlds_builder

# A cheap task of every domain whose simulator is installed by requirements.txt.
CHEAP = {
  "atari": "pong",
  "atari_extended": "kaboom",
  "control_suite": "cartpole-balance",
  "control_suite_pixels": "cartpole-balance",
  "control_suite_random_large": "cartpole-balance",
  "control_suite_random_small": "cartpole-balance",
  "modular_rl": "hopper-thigh",
  "procgen": "maze",
  "rgb_stacking": "triplet1",
}


# Episodes that are read of a dataset.
EPISODES = 5


def rlds_episodes(directory: pathlib.Path) -> list[tuple[int, float]]:
  """Returns (length, return) of the first episodes, which TFDS and rlds alone read."""
  dataset = tfds.builder_from_directory(directory).as_dataset(
    split="train", read_config=tfds.ReadConfig(interleave_cycle_length=1)
  )

  episodes = []
  for episode in dataset.take(EPISODES):
    steps = episode["steps"]
    length = int(rlds.transformations.episode_length(steps))
    total = float(rlds.transformations.sum_dataset(steps, lambda step: step["reward"]))

    flags = list(tfds.as_numpy(steps.map(lambda s: (s["is_first"], s["is_last"]))))
    assert [bool(first) for first, _ in flags] == [True] + [False] * (length - 1)
    assert [bool(last) for _, last in flags] == [False] * (length - 1) + [True]

    # Pairs of neighbours, as a trainer of another project makes them.
    pairs = rlds.transformations.batch(steps, size=2, shift=1, drop_remainder=True)
    assert sum(1 for _ in pairs) == length - 1

    metadata = {key: value.numpy() for key, value in episode["episode_metadata"].items()}
    assert metadata["length"] == length - 1  # the last step has no action
    assert np.isclose(metadata["return"], total, rtol=1e-3, atol=1e-2)
    json.loads(metadata["info"])
    episodes.append((length - 1, total))

  return episodes


def test_both_formats_of_raw_logs_make_the_same_files(tmp_path, monkeypatch):
  """Episodes that a machine without EnvLogger collected are those of any other."""
  domain = rlds_builders.get("dummy")
  settings = collect.TaskSettings(disturbance=0.5)
  built = []

  for file_format in (log_files.RIEGELI, log_files.ARRAY_RECORD):
    monkeypatch.setattr(log_files, "default_format", lambda: file_format)  # noqa: B023
    raw, tfds_dir = tmp_path / f"raw-{file_format}", tmp_path / f"tfds-{file_format}"
    collect.collect_shard(domain, "reach", raw, 0, range(3), settings)
    collect.collect_shard(domain, "reach", raw, 1, range(3, 6), settings)
    assert list(raw.rglob(f"*.{file_format}*"))

    rlds_builder.build(domain, "reach", raw, tfds_dir)
    (path,) = tfds_dir.rglob("*.tfrecord-*")
    built.append(path.read_bytes())

  assert built[0] == built[1]


def assert_as_logged(directory: pathlib.Path, raw: pathlib.Path) -> None:
  rows = logs.rows(raw)[:EPISODES]
  found = rlds_episodes(directory)

  assert [length for length, _ in found] == [row.length for row in rows]
  expected = [row.episode_return for row in rows]
  np.testing.assert_allclose([total for _, total in found], expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("task", ["reach", "reach_discrete"])
def test_collected_episodes(dummy_tfds, dummy_raw, task):
  assert_as_logged(dummy_tfds / "dummy" / task / "1.0.0", dummy_raw / "dummy" / task)


def test_array_record_is_built_where_it_is_asked_for(dummy_raw, tmp_path):
  domain = rlds_builders.get("dummy")
  directory = tmp_path / "dummy/reach/1.0.0"

  def form() -> str:
    return tfds.builder_from_directory(directory).info.file_format.value

  def build(file_format: str | None) -> bool:
    return rlds_builder.build(domain, "reach", dummy_raw, tmp_path, file_format=file_format)

  assert build("array_record") and form() == "array_record"
  assert not build(None)  # it is kept
  assert build("tfrecord") and form() == "tfrecord"
  assert_as_logged(directory, dummy_raw / "dummy/reach")


@pytest.mark.slow  # starts every simulator and its expert
@pytest.mark.parametrize(
  "name",
  [
    name
    for name in rlds_builders.names()
    if isinstance(rlds_builders.get(name), SimulatedDomain) and name != "dummy"
  ],
)
def test_episodes_of_every_simulator(name, tmp_path):
  task = CHEAP.get(name, rlds_builders.get(name).tasks[0])
  command = [sys.executable, "-m", "experiments.check", f"--domain={name}", f"--tasks={task}"]
  done = subprocess.run(
    [*command, "--episodes=1", f"--data_dir={tmp_path}"], capture_output=True, text=True
  )
  if "install" in done.stderr and done.returncode:
    pytest.skip(done.stderr.splitlines()[-1])

  assert not done.returncode, done.stdout + done.stderr
  assert_as_logged(tmp_path / "tfds" / name / task / "1.0.0", tmp_path / "raw" / name / task)
