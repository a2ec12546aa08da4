"""Recorded episodes with one fault each, written by TFDS itself.

Each fault is found and named when the dataset is built.
"""

import dataclasses
import importlib
import pathlib

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from catalogue_cases import (
  DAMAGES,
  DEPTH,
  EPISODES,
  FLOAT64,
  INT64,
  LATIN,
  NUMBERS,
  POINTER,
  STEPS,
  TASK,
  UINT32,
  at,
  damage,
  every,
  nan_state,
  write,
)

import rlds_builders
from gato_jax.data import records
from gato_jax.domain import Source
from gato_jax.errors import GatoError
from rlds_builders.base import conversion, rlds_builder


@pytest.fixture
def catalogue(tmp_path, monkeypatch) -> pathlib.Path:
  """An empty TFDS directory."""
  monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path / "catalogue"))
  return tmp_path / "catalogue"


@pytest.fixture
def build(tmp_path, monkeypatch):
  """Builds the dataset of a name, declared with changes, and returns its records."""

  def build(name: str, form: str | None = None, **changes) -> records.EpisodeRecords:
    source = Source(f"tfds:{name}:1.0.0", **changes)
    domain = dataclasses.replace(rlds_builders.get("robot_rlds"), sources={TASK: source})
    module = importlib.import_module("rlds_builders.robot_rlds.robot_rlds_dataset_builder")
    monkeypatch.setattr(module.Builder, "DOMAIN", domain)
    rlds_builder.build(domain, TASK, tmp_path, tmp_path / "tfds", file_format=form)
    return records.EpisodeRecords(records.directory_of(tmp_path / "tfds", f"robot_rlds.{TASK}"))

  return build


@pytest.mark.parametrize(
  ("change", "more", "declared", "message"),
  [
    (nan_state, {}, {}, "episode 2, step 3, observation/state: nan is no finite float32"),
    (at(2, 1, "reward", np.nan), {}, {}, "episode 2, step 1, reward: nan is no finite float32"),
    (at(2, 1, "reward", 1e300), {}, {}, r"episode 2, step 1, reward: inf is no finite float32"),
    (
      at(1, 0, "action", np.full(7, np.inf, np.float32)),
      {},
      {},
      "episode 1, step 0, action: the action .* not finite",
    ),
    (
      every("observation/far", 1e300),
      FLOAT64,
      {},
      r"episode 0, step 0, observation/far: inf is no finite float32",
    ),
    (
      every("observation/stamp", 1 + (1 << 32)),
      INT64,
      {},
      r"episode 0, step 0, observation/stamp: 4294967297 lies outside \[0, 1023\], .* name the other fields in the",
    ),
    (
      every("observation/stamp", 2**32 - 1),
      UINT32,
      {},
      "observation/stamp: 4294967295 lies outside",
    ),
    (every("observation/stamp", -1), INT64, {}, "observation/stamp: -1 lies outside"),
    (
      every("instruction", LATIN),
      {},
      {"observation": {"instruction": "instruction"}},
      r"episode 0, step 0, instruction: b'pose la tasse .* is not UTF-8 text",
    ),
    (
      every("observation/depth", np.full((32, 32, 1), 5000, np.uint16)),
      DEPTH,
      {},
      r"observation/depth: images of uint16 .*; give the source image_range={'depth': \(lowest, highest\)}",
    ),
    (
      every("observation/depth", np.full((32, 32, 1), 5000, np.uint16)),
      DEPTH,
      {"image_range": {"depth": (0, 4999)}},
      r"episode 0, step 0, observation/depth: 5000 lies outside its image_range \[0, 4999\]; widen it",
    ),
    (
      every("observation/depth", np.full((32, 32, 1), 5000, np.uint16)),
      DEPTH,
      {"image_range": {"depth": (9, 9)}},
      "observation/depth: image_range must be a lowest and a highest value",
    ),
    (None, {}, {"image_range": {"deep": (0, 1)}}, "unknown key of image_range in .*'deep'"),
    (
      None,
      {},
      {"observation": {"state": "observation/stat"}},
      "unknown field of a step .*'observation/state'",
    ),
    (None, {}, {"minimum": (1.0,), "maximum": (-1.0,)}, "every minimum must be below its maximum"),
    (None, {}, {"minimum": (-np.inf,)}, "every minimum must be below its maximum, and both finite"),
    (None, {}, {"action": ("instruction",)}, "the action instruction must be numbers"),
    (None, {}, {"split": "trian"}, "has no split 'trian'; it has train"),
    (
      None,
      {"camera": tfds.features.Image(shape=(84, 84, 3))},
      {},
      r"observation/camera: images are \(84, 84, 3\); give the source an image_size of multiples of 16",
    ),
  ],
)
def test_what_does_not_fit_is_one_line(catalogue, build, change, more, declared, message):
  if not change and more:
    change = every("observation/camera", np.zeros((84, 84, 3), np.uint8))
  name = write(catalogue, change, more)
  with pytest.raises(GatoError, match=rf"^[^\n]*{message}[^\n]*$"):
    build(name, **declared)


def test_numbers_beyond_float32_are_refused():
  """TFDS reads float64 of array_record and TFRecord as float32, so these become infinite above."""
  with pytest.raises(GatoError, match=r"far: 1e\+300 is no finite float32"):
    conversion.floats(np.array([1.0, 1e300]), "far")


def test_what_does_not_fit_may_be_left_out(catalogue, build):
  """Follows the advice of the error messages above."""
  name = write(catalogue, every("observation/stamp", 1 + (1 << 32)), INT64)
  episode = build(name, observation={"state": "observation/state"}).episode(1)

  assert list(episode.observation) == ["state"]
  assert episode.action.shape == (STEPS - 1, 7)
  assert episode.rewards.tolist() == [0, 0, 0, 1]


def test_a_last_reward_that_is_not_defined_counts_for_nothing(catalogue, build):
  found = build(write(catalogue, at(1, STEPS - 1, "reward", np.nan)))
  assert found.episode(1).metadata["return"] == 1


def test_actions_moved_to_their_bounds_are_counted(catalogue, build, capsys):
  name = write(catalogue, at(1, 0, "action", np.full(7, 2.0, np.float32)), lengths=(101, 101))
  assert build(name).episode(1)[1][0].tolist() == [1.0] * 7
  assert "robot_rlds.bridge: moved 7 numbers of actions to their bounds" in capsys.readouterr().err


def test_a_discrete_action_beyond_int32_does_not_wrap(catalogue, build):
  name = write(catalogue, every("observation/choice", 3 + (1 << 32)), {"choice": INT64["stamp"]})
  with pytest.raises(
    GatoError, match=r"100% of the values of action number 0 lie outside \[0, 17\]"
  ):
    build(
      name, observation={"state": "observation/state"}, action=("observation/choice",), choices=18
    )


@pytest.mark.parametrize(
  ("feature", "dtype", "value_range"),
  [
    (DEPTH["depth"], np.uint16, (0.0, 10_000.0)),
    (tfds.features.Image(shape=(32, 32, 1), dtype=np.float32), np.float32, (0.0, 10_000.0)),
    (tfds.features.Tensor(shape=(32, 32), dtype=np.float32), np.float32, (-5000.0, 5000.0)),
    (tfds.features.Tensor(shape=(32, 32, 3), dtype=np.uint16), np.uint16, (0.0, 65535.0)),
  ],
)
def test_a_declared_range_is_scaled(catalogue, build, feature, dtype, value_range):
  values = np.zeros((32, 32, 1), dtype)
  values[:16] = 5000
  shape = feature.shape
  values = np.broadcast_to(values, shape) if len(shape) == 3 else values[..., 0]
  name = write(catalogue, every("observation/depth", values), {"depth": feature})
  found = build(
    name, observation={"depth": "observation/depth"}, image_range={"depth": value_range}
  )
  image = found.episode(0)[0]["depth"][0]
  low, high = value_range
  expected = [round((value - low) / (high - low) * 255) for value in (5000, 0)]

  assert image.shape == (32, 32, 3) and image[0, 0].tolist() == [expected[0]] * 3
  assert image[31, 31].tolist() == [expected[1]] * 3


def test_episodes_of_one_step_are_counted(catalogue, build, capsys):
  assert len(build(write(catalogue, lengths=(STEPS, 1, STEPS, 1, STEPS, 1)))) == 3
  (line,) = (line for line in capsys.readouterr().err.splitlines() if "robot_rlds" in line)
  assert line == (
    "robot_rlds.bridge: left out 3 of 6 episodes, which have fewer than two steps: nothing was done in them"
  )


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"", "an empty string where an image should be"),
    (b"\xff\xd8\xffrubbish", "damaged .jpeg::Uncompress failed"),
  ],
)
def test_an_image_that_cannot_be_decoded_is_named(catalogue, build, content, message):
  image = {"camera": tfds.features.Image(shape=(32, 32, 3), encoding_format="jpeg")}
  name = write(catalogue, every("observation/camera", np.zeros((32, 32, 3), np.uint8)), image)
  (path,) = (catalogue / name / "1.0.0").glob("*tfrecord*")
  examples = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
  examples[1].features.feature["steps/observation/camera"].bytes_list.value[2] = content
  with tf.io.TFRecordWriter(str(path)) as file:
    for example in examples:
      file.write(example.SerializeToString())

  with pytest.raises(
    GatoError,
    match=rf"^robot_rlds.bridge, episode 1, step 2, observation/camera: ({message})[^\n]*$",
  ):
    build(name)
  assert (
    len(build(name, observation={"state": "observation/state"})) == EPISODES
  )  # what the line says helps


@pytest.mark.parametrize("form", ["tfrecord", "array_record"])
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_recorded_shard_that_is_not_whole_is_named(catalogue, build, kind, form):
  name = write(catalogue, form=form, shards=2)
  assert len(build(name)) == EPISODES

  content, message = DAMAGES[kind]
  path = catalogue / name / "1.0.0" / f"{name}-train.{form}-00001-of-00002"
  damage(path, content)

  with pytest.raises(GatoError, match=rf"^{path}: {message}[^\n]*$"):
    build(name, minimum=(-2.0,))  # another declaration, so that it is built again


@pytest.mark.parametrize("file", ["dataset_info.json", "features.json"])
def test_a_damaged_description_is_one_line(catalogue, build, file):
  name = write(catalogue)
  (catalogue / name / "1.0.0" / file).write_bytes(POINTER)
  with pytest.raises(
    GatoError, match=rf"^tfds:{name}:1.0.0: dataset_info.json or features.json is damaged[^\n]*$"
  ):
    build(name)


def test_a_tfrecord_that_lacks_records_is_named(catalogue, build):
  name = write(catalogue, shards=2)
  first, second = sorted((catalogue / name / "1.0.0").glob("*tfrecord*"))
  kept = [r.numpy() for r in tf.data.TFRecordDataset(str(second))][:-1]
  with tf.io.TFRecordWriter(str(second)) as file:
    for record in kept:
      file.write(record)

  with pytest.raises(GatoError, match=f"^{second}: damaged: 1 records, not 2; get it again$"):
    build(name)


@pytest.mark.parametrize("form", rlds_builder.FILE_FORMATS)
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_built_shard_that_is_not_whole_is_one_line(catalogue, build, kind, form):
  directory = build(write(catalogue), form=form).directory
  (path,) = directory.glob(f"*{form}*")
  damage(path, DAMAGES[kind][0])

  with pytest.raises(
    GatoError, match=rf"^{directory}[^\n]*; delete the folder, run experiments.build again$"
  ):
    found = records.EpisodeRecords(directory)
    [found.episode(i) for i in range(len(found))]

  (directory / "dataset_info.json").write_text("")

  with pytest.raises(
    GatoError, match=rf"^{directory}[^\n]*; delete the folder, run experiments.build again$"
  ):
    records.load_spec(directory)


def test_records_that_are_not_finite_are_named(catalogue, build, monkeypatch):
  """Datasets that were built before the builder checked for them may hold such records."""
  found = build(write(catalogue))
  source = found._training
  record = dict(
    source[1], steps=dict(source[1]["steps"], reward=np.array([0, np.nan, 0, 1, 0], np.float32))
  )
  monkeypatch.setattr(found, "_training", [{}, record])

  with pytest.raises(
    GatoError, match="^robot_rlds.bridge, episode 1, step 1, reward: nan; every number must be"
  ):
    found.episode(1)


def test_what_is_no_rlds_is_one_line(catalogue, build):
  name = f"faults{next(NUMBERS)}"
  members = {
    "name": name,
    "VERSION": tfds.core.Version("1.0.0"),
    "__module__": rlds_builder.__name__,
    "_info": lambda self: tfds.core.DatasetInfo(
      builder=self, features=tfds.features.FeaturesDict({"x": np.int64})
    ),
    "_split_generators": lambda self, dl_manager: {"train": self._generate_examples()},
    "_generate_examples": lambda self: iter([(0, {"x": 1})]),
  }
  type(name, (tfds.core.GeneratorBasedBuilder,), members, skip_registration=True)(
    data_dir=catalogue
  ).download_and_prepare()

  with pytest.raises(GatoError, match="no RLDS, which has steps; its fields are x"):
    build(name)
