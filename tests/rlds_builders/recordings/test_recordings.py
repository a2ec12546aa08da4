"""Recorded episodes in the formats that people have, written by the formats' own packages.

What make_recordings.py wrote lies beside this file; HDF5, .npz and RLDS are written here, by h5py,
NumPy and TFDS.
"""

import dataclasses
import importlib
import json
import pathlib
import shutil

import av
import catalogue_cases
import h5py
import numpy as np
import pytest
import tensorflow_datasets as tfds
from make_recordings import EPISODES, TASKS, frame

import rlds_builders
from gato_jax.data import records
from gato_jax.domain import Source
from gato_jax.errors import GatoError, MissingData
from gato_jax.task import flatten
from rlds_builders.base import recorded_source, rlds_builder
from rlds_builders.recordings import recording

HERE = pathlib.Path(__file__).parent
TASK = "jaco_play"  # a task of robot_rlds, whose source is replaced

LEROBOT = Source(
  "",
  observation={
    "camera": "observation/images/top",
    "instruction": "language_instruction",
    "state": "observation/state",
  },
)


@pytest.fixture
def build(tmp_path, monkeypatch):
  """Builds the dataset of a source and returns its episodes, each a dict of columns."""

  def build(source: Source) -> list[dict]:
    domain = dataclasses.replace(rlds_builders.get("robot_rlds"), sources={TASK: source})
    module = importlib.import_module("rlds_builders.robot_rlds.robot_rlds_dataset_builder")
    monkeypatch.setattr(module.Builder, "DOMAIN", domain)
    rlds_builder.build(domain, TASK, tmp_path, tmp_path / "tfds")

    directory = records.directory_of(tmp_path / "tfds", f"robot_rlds.{TASK}")
    episodes = []
    built = tfds.builder_from_directory(directory).as_dataset(split="train")
    for episode in tfds.as_numpy(built):
      steps = [flatten(step) for step in episode["steps"]]
      episodes.append({key: np.array([step[key] for step in steps]) for key in steps[0]})
    return episodes

  return build


def reader(dataset: str) -> recording.Recording:
  opened = recorded_source.load(Source(dataset))
  assert isinstance(opened, recorded_source.FileRecording)
  return opened.reader


def columns(dataset: str, split: str = "train") -> list[dict]:
  opened = reader(dataset)
  return list(opened.episodes(split, list(opened.fields)))


@pytest.mark.parametrize("version", ["lerobot_v3", "lerobot_v21"])
def test_lerobot_is_read_as_its_own_package_wrote_it(version):
  opened = reader(f"lerobot:{HERE / version}")
  assert opened.splits == {"train": 3}
  assert opened.fields["observation/images/top"] == recording.Field(
    (32, 48, 3), np.dtype(np.uint8), is_image=True
  )

  found = list(opened.episodes("train", list(opened.fields)))
  assert [len(episode["action"]) for episode in found] == list(EPISODES)

  for number, episode in enumerate(found):
    for step in range(EPISODES[number]):
      written = frame(number, step)
      np.testing.assert_array_equal(
        episode["observation/state"][step], written["observation.state"]
      )
      np.testing.assert_array_equal(episode["action"][step], written["action"])
      np.testing.assert_array_equal(np.ravel(episode["reward"][step]), written["next.reward"])
      assert bool(np.ravel(episode["is_terminal"][step])[0]) == written["next.done"][0]
      assert episode["language_instruction"][step] == TASKS[number].encode()

      # A lossy video: the right frame is much nearer than its neighbours, which differ by a bar.
      image = episode["observation/images/top"][step].astype(float)
      error = np.abs(image - written["observation.images.top"]).mean()
      other = np.abs(image - frame(number, (step + 1) % 5)["observation.images.top"]).mean()
      assert error < 6 and error < other / 2


@pytest.mark.parametrize("version", ["lerobot_v3", "lerobot_v21"])
def test_a_lerobot_dataset_becomes_rlds(build, version):
  source = dataclasses.replace(LEROBOT, dataset=f"lerobot:{HERE / version}")
  built = build(source)

  # The last step of an episode has no action that counts.
  assert [len(episode["action"]) - 1 for episode in built] == [n - 1 for n in EPISODES]
  first = built[0]
  np.testing.assert_allclose(first["action"][1], [0, 0.1], atol=1e-6)
  assert first["observation/camera"].shape[1:] == (32, 48, 3)
  assert first["is_terminal"][-1] and not first["is_terminal"][:-1].any()


def test_an_episode_that_begins_between_two_key_frames_is_found(tmp_path):
  """LeRobot's own videos have a key frame wherever an episode begins; those of others may not."""
  copy = shutil.copytree(HERE / "lerobot_v3", tmp_path / "copy")
  (video,) = copy.glob("videos/*/*/*.mp4")
  with av.open(str(video)) as container:
    images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

  with av.open(str(video), "w") as container:
    stream = container.add_stream("mpeg4", rate=10)
    stream.width, stream.height, stream.pix_fmt, stream.gop_size = 48, 32, "yuv420p", 100
    stream.bit_rate = 10_000_000
    for image in images:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
    container.mux(stream.encode())

  pairs = zip(columns(f"lerobot:{copy}"), columns(f"lerobot:{HERE}/lerobot_v3"), strict=True)
  for again, first in pairs:
    path = "observation/images/top"
    error = np.abs(again[path].astype(float) - first[path]).mean((1, 2, 3))
    assert error.max() < 10


def test_images_that_are_not_used_are_not_decoded(tmp_path):
  copy = shutil.copytree(HERE / "lerobot_v3", tmp_path / "copy")
  for video in copy.glob("videos/*/*/*.mp4"):
    video.write_bytes(b"no video")
  opened = reader(f"lerobot:{copy}")

  assert len(list(opened.episodes("train", ["action"]))) == 3
  with pytest.raises(GatoError, match="file-000.mp4: cannot be decoded"):
    list(opened.episodes("train", ["observation/images/top"]))


def test_a_missing_frame_is_named(tmp_path):
  copy = shutil.copytree(HERE / "lerobot_v21", tmp_path / "copy")
  videos = copy / "videos/chunk-000/observation.images.top"
  shutil.copy(videos / "episode_000001.mp4", videos / "episode_000000.mp4")

  with pytest.raises(GatoError, match="episode 0 has 5 steps and 3 frames"):
    columns(f"lerobot:{copy}")


@pytest.mark.parametrize(
  ("file", "content", "message"),
  [
    ("meta/info.json", "{", "meta/info.json cannot be read"),
    ("meta/tasks.parquet", "x", "tasks.parquet: cannot be read"),
    ("data/chunk-000/file-000.parquet", "x", "file-000.parquet: cannot be read"),
  ],
)
def test_a_damaged_file_is_named(tmp_path, file, content, message):
  copy = shutil.copytree(HERE / "lerobot_v3", tmp_path / "copy")
  (copy / file).write_text(content)
  with pytest.raises(GatoError, match=message):
    columns(f"lerobot:{copy}")


def test_another_version_is_named(tmp_path):
  copy = shutil.copytree(HERE / "lerobot_v21", tmp_path / "copy")
  info = json.loads((copy / "meta/info.json").read_text())
  (copy / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v1.6"}))
  with pytest.raises(GatoError, match="version v1.6, and 2.1 and 3.0 are read"):
    columns(f"lerobot:{copy}")


def test_minari_is_read_by_name_with_the_observation_after_the_last_action(build, monkeypatch):
  monkeypatch.setenv("MINARI_DATASETS_PATH", str(HERE / "minari"))
  found = columns("minari:gato/pendulum-v0")

  assert [len(episode["action"]) for episode in found] == [6, 6, 6]
  assert found[0]["observation/state"].shape == (7, 3)

  built = build(
    Source(
      "minari:gato/pendulum-v0",
      observation={"s": "observation/state"},
      minimum=(-2.0,),
      maximum=(2.0,),
    )
  )
  assert [len(episode["action"]) for episode in built] == [7, 7, 7]
  np.testing.assert_allclose(built[1]["action"][:6], found[1]["action"])
  np.testing.assert_allclose(built[1]["observation/s"], found[1]["observation/state"], rtol=1e-6)
  assert not built[1]["is_terminal"].any()  # cut off by the time limit


def test_minari_that_is_not_there_is_named(monkeypatch, tmp_path):
  monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
  with pytest.raises(MissingData, match="`minari download D4RL/door/human-v2` gets it"):
    recorded_source.load(Source("minari:D4RL/door/human-v2"))


@pytest.fixture
def robomimic(tmp_path) -> pathlib.Path:
  """Two demonstrations, as robomimic's scripts write them."""
  path = tmp_path / "demos.hdf5"
  random = np.random.default_rng(0)

  with h5py.File(path, "w") as file:
    for number, length in ((0, 4), (10, 6), (2, 5)):
      group = file.create_group(f"data/demo_{number}")
      group.attrs["num_samples"] = length
      group.attrs["ep_meta"] = json.dumps({"lang": f"task {number}"})
      for name in ("obs", "next_obs"):
        group[f"{name}/eef"] = np.full((length, 3), number, np.float64) + (name == "next_obs")
        group[f"{name}/agentview_image"] = random.integers(0, 256, (length, 84, 84, 3), np.uint8)
      group["actions"] = random.uniform(-1, 1, (length, 7))
      group["rewards"] = np.arange(length, dtype=np.float64)
      group["dones"] = np.arange(length) == length - 1
      group["states"] = random.normal(size=(length, 9))
    file["mask/train"] = np.array([b"demo_0", b"demo_10"])
    file["mask/valid"] = np.array([b"demo_2"])
  return path


def test_robomimic_is_read_in_the_order_of_its_masks(robomimic):
  opened = reader(f"hdf5:{robomimic}")
  assert opened.splits == {"train": 2, "valid": 1}
  assert {"observation/eef", "observation/agentview_image", "action", "states"} < set(opened.fields)

  first, second = columns(f"hdf5:{robomimic}")
  assert (first["observation/eef"][0, 0], second["observation/eef"][0, 0]) == (0, 10)

  # What followed the last action is the last observation.
  assert len(first["observation/eef"]) == len(first["action"]) + 1 == 5
  assert first["observation/eef"][-1, 0] == 1
  assert second["language_instruction"][0] == b"task 10"
  assert len(columns(f"hdf5:{robomimic}", "valid")) == 1


def test_robomimic_without_masks_is_read_in_the_order_of_its_numbers(robomimic):
  with h5py.File(robomimic, "a") as file:
    del file["mask"]
  numbers = [int(episode["observation/eef"][0, 0]) for episode in columns(f"hdf5:{robomimic}")]
  assert numbers == [0, 2, 10]


def test_robomimic_becomes_rlds_with_its_images_padded(build, robomimic):
  built = build(
    Source(
      f"hdf5:{robomimic}",
      observation={
        "camera": "observation/agentview_image",
        "instruction": "language_instruction",
        "eef": "observation/eef",
      },
      image_size=(96, 96),
      resize="pad",
    )
  )

  assert [len(episode["action"]) for episode in built] == [5, 7]
  camera = built[0]["observation/camera"]
  assert camera.shape == (5, 96, 96, 3)
  assert not camera[:, :6].any() and camera[:, 6:90, 6:90].any()
  np.testing.assert_array_equal(built[0]["reward"], [0, 1, 2, 3, 0])
  assert built[0]["is_terminal"].tolist() == [False] * 4 + [True]


def test_d4rl_is_cut_where_episodes_end(tmp_path, build):
  path = tmp_path / "walker.hdf5"
  with h5py.File(path, "w") as file:
    file["observations"] = np.arange(20.0).reshape(10, 2)
    file["actions"] = np.zeros((10, 3), np.float32)
    file["rewards"] = np.ones(10)
    file["terminals"] = np.arange(10) == 3
    file["timeouts"] = np.arange(10) == 7
    file["metadata/algorithm"] = "sac"
    file["infos/qpos"] = np.zeros((10, 4))

  assert [len(episode["action"]) for episode in columns(f"hdf5:{path}")] == [4, 4, 2]

  built = build(Source(f"hdf5:{path}"))
  np.testing.assert_array_equal(built[1]["observation/state"][:, 0], [8, 10, 12, 14])
  assert [bool(episode["is_terminal"][-1]) for episode in built] == [True, False, False]


def test_npz_files_are_episodes_and_folders_splits(tmp_path, build):
  for split, count in (("train", 3), ("validation", 1)):
    (tmp_path / split).mkdir()
    for number in range(count):
      np.savez(
        tmp_path / split / f"{number:03}.npz",
        **{
          "observation/state": np.full((5, 2), number, np.float32),
          "action": np.full((4, 1), 0.5),
          "language_instruction": np.array(f"task {number}"),
        },
      )

  source = Source(
    f"npz:{tmp_path}",
    observation={"state": "observation/state", "instruction": "language_instruction"},
  )
  assert reader(f"npz:{tmp_path}").splits == {"train": 3, "validation": 1}
  built = build(source)
  assert [episode["observation/state"][0, 0] for episode in built] == [0, 1, 2]
  assert len(build(dataclasses.replace(source, split="validation"))) == 1


def test_rlds_that_lies_anywhere_is_read(tmp_path, build):
  name = catalogue_cases.write(tmp_path / "elsewhere")
  built = build(Source(f"rlds:{tmp_path}/elsewhere/{name}/1.0.0"))
  assert len(built) == catalogue_cases.EPISODES
  assert len(built[0]["action"]) == catalogue_cases.STEPS


@pytest.mark.parametrize(
  ("dataset", "message"),
  [
    ("zarr:x", "'zarr:x' must begin with 'tfds:', 'rlds:', 'lerobot:'"),
    ("bridge", "'bridge' must begin with 'tfds:'"),
    ("hdf5:nowhere.hdf5", "nowhere.hdf5 does not exist"),
    ("rlds:nowhere", "nowhere does not exist"),
    (f"rlds:{HERE}", "no dataset that TFDS wrote"),
    (f"npz:{HERE}", "no .npz files, neither here nor one folder below"),
    (f"hdf5:{HERE / 'make_recordings.py'}", "no HDF5 that can be read"),
  ],
)
def test_a_source_that_cannot_be_opened_is_named(dataset, message):
  with pytest.raises(GatoError, match=message):
    recorded_source.load(Source(dataset))


def test_another_hdf5_is_described(tmp_path):
  with h5py.File(tmp_path / "other.h5", "w") as file:
    file["images"] = np.zeros(3)
  with pytest.raises(GatoError, match="nor Minari's episode_0; it has images"):
    reader(f"hdf5:{tmp_path}/other.h5")


def test_a_split_that_is_not_there_is_named(build, robomimic):
  with pytest.raises(GatoError, match="has no split 'test'; it has train, valid"):
    build(Source(f"hdf5:{robomimic}", observation={"e": "observation/eef"}, split="test"))


def test_columns_of_other_lengths_are_named():
  columns = {"observation/a": np.zeros(5), "action": np.zeros(3)}
  with pytest.raises(GatoError, match="x: action has 3 steps, other fields have 5"):
    recording.steps(columns, "x")
  with pytest.raises(GatoError, match="x: observation/b has 4 steps, other fields have 5"):
    recording.steps({"observation/a": np.zeros(5), "observation/b": np.zeros(4)}, "x")
