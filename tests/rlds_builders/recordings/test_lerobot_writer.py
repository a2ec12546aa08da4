"""LeRobot datasets that we write hold our episodes, read by our reader and by LeRobot's.

LeRobot's package is installed into an environment of its own, which takes minutes and needs
Python 3.12, so that test is slow.
"""

import json
import pathlib
import subprocess

import numpy as np
import pytest
from dm_env import specs
from pythons import interpreters

from experiments.analysis import lerobot_export
from gato_jax.data import records
from gato_jax.data.records import Episode
from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec
from rlds_builders.base import recorded_source
from rlds_builders.recordings import lerobot, lerobot_writer

LEROBOT = "lerobot==0.4.4"

SPEC = TaskSpec(
  "robot.lift",
  observation={
    "arm/joints": specs.Array((2, 2), np.float32),
    "cameras/top": specs.BoundedArray((32, 48, 3), np.uint8, 0, 255),
    "cameras/wrist": specs.BoundedArray((16, 16, 3), np.uint8, 0, 255),
    "grip": specs.BoundedArray((), np.int32, 0, 3),
    "instruction": specs.StringArray(()),
    "remark": specs.StringArray(()),
  },
  action=specs.BoundedArray((3,), np.float32, -1, 1),
  max_text_tokens={"instruction": 8, "remark": 8},
  control_timestep=0.05,
)
LENGTHS = (5, 3, 4)


def episode(number: int) -> Episode:
  length = LENGTHS[number]
  random = np.random.default_rng(number)
  top = np.zeros((length, 32, 48, 3), np.uint8)
  for t in range(length):
    top[t, :, : 8 * (t + 1)] = (60 * number + 40, 90, 200)

  action = random.uniform(-1, 1, (length, 3)).astype(np.float32)
  return Episode(
    observation={
      "arm/joints": random.normal(size=(length, 2, 2)).astype(np.float32),
      "cameras/top": top,
      "cameras/wrist": np.full((length, 16, 16, 3), 50 * number, np.uint8),
      "grip": np.arange(length, dtype=np.int32) % 4,
      "instruction": np.array([f"lift {number % 2}".encode()] * length, object),
      "remark": np.array([f"step {t}".encode() for t in range(length)], object),
    },
    action=action,
    expert_action=action,
    rewards=np.arange(length, dtype=np.float32),
    metadata={"success": int(number == 1)},
  )


class Episodes:
  spec = SPEC

  def __iter__(self):
    return map(episode, range(len(LENGTHS)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
  folder = tmp_path_factory.mktemp("lerobot") / "lift"
  lerobot_export.export(Episodes(), folder)
  return folder


def near(image: np.ndarray, written: np.ndarray) -> bool:
  """True for an image that went through a video."""
  return float(np.abs(image.astype(float) - written).mean()) < 5


def test_our_reader_finds_every_value(folder):
  reader = lerobot.LeRobotEpisodes(folder)
  assert reader.splits == {"train": 3}
  found = list(reader.episodes("train", list(reader.fields)))

  for number, columns in enumerate(found):
    written = episode(number)
    joints = columns["observation/arm/joints"]
    np.testing.assert_array_equal(joints, written.observation["arm/joints"].reshape(-1, 4))
    np.testing.assert_array_equal(columns["action"], written.action)
    np.testing.assert_array_equal(np.ravel(columns["reward"]), written.rewards)
    np.testing.assert_array_equal(
      np.ravel(columns["observation/grip"]), written.observation["grip"]
    )
    assert columns["language_instruction"].tolist() == written.observation["instruction"].tolist()
    assert columns["observation/remark"].tolist() == written.observation["remark"].tolist()
    assert np.ravel(columns["is_terminal"]).tolist() == [False] * (LENGTHS[number] - 1) + [True]

    for camera in ("top", "wrist"):
      images = columns[f"observation/images/cameras/{camera}"]
      pairs = zip(images, written.observation[f"cameras/{camera}"], strict=True)
      assert all(near(*pair) for pair in pairs)


def test_files_hold_many_episodes_up_to_a_limit(tmp_path, monkeypatch):
  monkeypatch.setattr(lerobot_writer, "_FILE_FRAMES", 8)  # the first two episodes
  monkeypatch.setattr(lerobot_writer, "_CHUNK_FILES", 1)
  folder = tmp_path / "lift"
  lerobot_export.export(Episodes(), folder)

  tables = sorted(path.relative_to(folder).as_posix() for path in (folder / "data").rglob("*.*"))
  assert tables == ["data/chunk-000/file-000.parquet", "data/chunk-001/file-000.parquet"]
  assert len(list((folder / "videos").rglob("*.mp4"))) == 4

  reader = lerobot.LeRobotEpisodes(folder)
  found = list(reader.episodes("train", list(reader.fields)))
  assert [len(columns["action"]) for columns in found] == list(LENGTHS)
  last = found[2]["observation/images/cameras/top"]
  assert all(near(*pair) for pair in zip(last, episode(2).observation["cameras/top"], strict=True))


def test_statistics_are_those_of_all_steps(folder):
  statistics = json.loads((folder / "meta/stats.json").read_text())
  actions = np.concatenate([episode(number).action for number in range(3)]).astype(float)
  for name, value in (("mean", actions.mean(0)), ("std", actions.std(0)), ("max", actions.max(0))):
    np.testing.assert_allclose(statistics["action"][name], value, rtol=1e-6)
  assert np.shape(statistics["observation.images.cameras.top"]["mean"]) == (3, 1, 1)


def test_a_collected_dataset_is_read_back_as_recorded_episodes(dummy_tfds, tmp_path):
  source = records.EpisodeRecords(dummy_tfds / "dummy/reach/1.0.0")
  lerobot_export.export(source, tmp_path / "reach")
  opened = recorded_source.load(recorded_source.Source(f"lerobot:{tmp_path}/reach"))
  assert isinstance(opened, recorded_source.FileRecording)

  columns = next(iter(opened.reader.episodes("train", ["action", "reward"])))
  first = source.episode(0)
  np.testing.assert_array_equal(columns["action"], first.action.reshape(len(first.action), -1))
  np.testing.assert_array_equal(np.ravel(columns["reward"]), first.rewards)


def test_no_episodes_are_one_line(tmp_path):
  class Nothing(Episodes):
    def __iter__(self):
      return iter(())

  with pytest.raises(GatoError, match="no episodes to write"):
    lerobot_export.export(Nothing(), tmp_path / "lift")
  assert not (tmp_path / "lift/meta/info.json").exists()


_READ = """
import json, sys
from lerobot.datasets.lerobot_dataset import LeRobotDataset

dataset = LeRobotDataset("gato/lift", root=sys.argv[1], video_backend="pyav")
rows = []
for i in range(len(dataset)):
  item = dataset[i]
  rows.append({
    "task": item["task"],
    "episode": item["episode_index"].item(),
    "action": item["action"].tolist(),
    "joints": item["observation.arm.joints"].tolist(),
    "grip": item["observation.grip"].flatten().tolist(),
    "reward": item["next.reward"].flatten().tolist(),
    "done": item["next.done"].flatten().tolist(),
    "pixel": (item["observation.images.cameras.top"][:, 5, 3] * 255).tolist(),
    "shape": list(item["observation.images.cameras.wrist"].shape),
  })
print(json.dumps({"fps": dataset.fps, "episodes": dataset.num_episodes, "rows": rows}))
"""


@pytest.mark.slow  # installs LeRobot and PyTorch
def test_lerobots_own_loader_reads_it(folder, tmp_path):
  python = interpreters().get("3.12")
  if python is None:
    pytest.skip("LeRobot 0.4.4 needs Python 3.12")
  subprocess.run([python, "-m", "venv", tmp_path / "venv"], check=True)
  own = tmp_path / "venv/bin/python"
  subprocess.run([own, "-m", "pip", "install", "-q", LEROBOT], check=True)

  read(own, folder)


def read(python: pathlib.Path, folder: pathlib.Path) -> None:
  """Reads the dataset with the LeRobot of an interpreter and compares every frame."""
  done = subprocess.run([python, "-c", _READ, folder], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-3000:]
  found = json.loads(done.stdout.splitlines()[-1])
  assert (found["fps"], found["episodes"], len(found["rows"])) == (20, 3, sum(LENGTHS))

  rows = iter(found["rows"])
  for number, length in enumerate(LENGTHS):
    written = episode(number)
    for t in range(length):
      row = next(rows)
      assert (row["task"], row["episode"]) == (f"lift {number % 2}", number)
      np.testing.assert_allclose(row["action"], written.action[t], rtol=1e-6)
      np.testing.assert_allclose(
        row["joints"], written.observation["arm/joints"][t].ravel(), rtol=1e-6
      )
      assert row["grip"] == [t % 4] and row["reward"] == [t] and row["done"] == [t == length - 1]
      assert near(np.array(row["pixel"]), written.observation["cameras/top"][t, 5, 3])
      assert row["shape"] == [3, 16, 16]
