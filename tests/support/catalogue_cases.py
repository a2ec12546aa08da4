"""Recorded datasets, intact and damaged, for tests of the catalogue."""

import itertools
import pathlib

import numpy as np
import tensorflow_datasets as tfds

from rlds_builders.base import rlds_builder

EPISODES, STEPS = 4, 5


TASK = "bridge"  # a name that the builder of recorded robots has


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a21\nsize 12345\n"


NUMBERS = itertools.count()


state = tfds.features.Tensor(shape=(7,), dtype=np.float32)


FEATURES = {
  "observation": {"state": state},
  "action": state,
  "reward": np.float64,
  "discount": np.float32,
  "is_first": np.bool_,
  "is_last": np.bool_,
  "is_terminal": np.bool_,
  "instruction": tfds.features.Text(),
}


def step(t: int, length: int) -> dict:
  return {
    "observation": {"state": np.linspace(-0.5, 0.5, 7, dtype=np.float32) + np.float32(0.01 * t)},
    "action": np.full(7, 0.1 * (t % 3 - 1), np.float32),
    "reward": float(t == length - 2),
    "discount": 1.0,
    "is_first": t == 0,
    "is_last": t == length - 1,
    "is_terminal": t == length - 1,
    "instruction": "pick up the cup",
  }


def write(
  folder: pathlib.Path,
  change=None,
  more=None,
  lengths=(STEPS,) * EPISODES,
  form="tfrecord",
  shards=1,
) -> str:
  """Writes a dataset and returns its name.

  Args:
    folder: TFDS directory.
    change: Changes a step in place, given the episode, the step's index and the step.
    more: Features of additional fields of the observation.
    lengths: Number of steps of each episode.
    form: Format of the files.
    shards: Number of files.
  """
  features = {**FEATURES, "observation": {**FEATURES["observation"], **(more or {})}}

  def episodes():
    for i, length in enumerate(lengths):
      steps = [step(t, length) for t in range(length)]
      for t, one in enumerate(steps):
        if change:
          change(i, t, one)
      yield i, {"steps": steps}

  name = f"faults{next(NUMBERS)}"
  members = {
    "name": name,
    "VERSION": tfds.core.Version("1.0.0"),
    "__module__": rlds_builder.__name__,  # TFDS looks for a package
    "_info": lambda self: tfds.core.DatasetInfo(
      builder=self,
      features=tfds.features.FeaturesDict({"steps": tfds.features.Dataset(features)}),
      disable_shuffling=True,
    ),
    "_split_generators": lambda self, dl_manager: {"train": self._generate_examples()},
    "_generate_examples": lambda self: episodes(),
  }
  builder = type(name, (tfds.core.GeneratorBasedBuilder,), members, skip_registration=True)
  builder(data_dir=folder, file_format=form).download_and_prepare(
    download_config=tfds.download.DownloadConfig(num_shards=shards)
  )
  return name


def at(episode: int, t: int, path: str, value):
  """Returns a change of the field `path` in one step."""

  def change(i, s, one):
    if (i, s) == (episode, t):
      *parents, key = path.split("/")
      for parent in parents:
        one = one[parent]
      one[key] = value

  return change


def nan_state(i, t, one):
  if (i, t) == (2, 3):
    one["observation"]["state"][4] = np.nan


INT64 = {"stamp": tfds.features.Tensor(shape=(), dtype=np.int64)}


UINT32 = {"stamp": tfds.features.Tensor(shape=(), dtype=np.uint32)}


FLOAT64 = {"far": tfds.features.Tensor(shape=(), dtype=np.float64)}


DEPTH = {"depth": tfds.features.Image(shape=(32, 32, 1), dtype=np.uint16, encoding_format="png")}


LATIN = "pose la tasse \xe0 c\xf4t\xe9".encode("latin-1")


def every(path: str, value):
  return lambda i, t, one: at(i, t, path, value)(i, t, one)


DAMAGES = {
  "missing": (None, "cannot be read .No such file or directory.; get it again"),
  "empty": (b"", "the file is empty; get it again"),
  "pointer": (POINTER, "only points to its content in Git LFS or git-annex; fetch it"),
  "cut": (lambda whole: whole[: len(whole) // 2], "damaged.*; get it again"),
  "cut at its end": (lambda whole: whole[:-5], "damaged.*; get it again"),
}


def damage(path: pathlib.Path, content) -> None:
  whole = path.read_bytes()
  path.unlink()
  if content is not None:
    path.write_bytes(content(whole) if callable(content) else content)
