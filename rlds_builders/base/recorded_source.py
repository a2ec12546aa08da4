"""Opens the recorded episodes of a Source, whatever their format.

tfds:NAME/CONFIG:VERSION   TFDS' catalogue, where TFDS keeps it
rlds:DIRECTORY             RLDS that lies anywhere, written by TFDS
lerobot:DIRECTORY          LeRobot, of versions 2.1 and 3.0
minari:NAME or DIRECTORY   Minari
hdf5:FILE                  robomimic or D4RL
npz:DIRECTORY              an .npz file of columns an episode
"""

import os
import pathlib
import types
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from gato_jax.domain import Source
from gato_jax.errors import GatoError, MissingData
from gato_jax.task import flatten, nested
from rlds_builders.base import tfds_source
from rlds_builders.recordings import recording


class FileRecording:
  """A reader of files as the part of a TFDS builder that specs and builders look at.

  Attributes:
    info: Its `features` are those of RLDS: "steps", a dataset of dicts.
  """

  def __init__(self, dataset: str, reader: recording.Recording):
    """Describes the reader's fields by TFDS' features.

    Args:
      dataset: Name of the source, for messages.
      reader: The files' reader.
    """
    self._dataset = dataset
    self.reader = reader

    features = nested({path: _feature(field) for path, field in reader.fields.items()})
    steps = tfds.features.Dataset(tfds.features.FeaturesDict(features))
    self.info = types.SimpleNamespace(features=tfds.features.FeaturesDict({"steps": steps}))

  def examples(self, split: str, used: Collection[str]) -> Iterator[dict[str, Any]]:
    """Yields episodes as dicts with their "steps".

    Args:
      split: Name of the split, or several joined with "+".
      used: Paths that are read.

    Raises:
      GatoError: There is no such split, or a file of it is damaged.
    """
    found = recording.episodes(self.reader, split, used, self._dataset)
    for number, columns in enumerate(found):
      where = f"{self._dataset}, episode {number}"
      yield {"steps": recording.steps(columns, where)}


def load(source: Source) -> tfds.core.DatasetBuilder | FileRecording:
  """Opens what a Source declares.

  Raises:
    MissingData: There is nothing.
    GatoError: The format is unknown, or what is there cannot be read.
  """
  form, _, place = source.dataset.partition(":")
  if form not in _OPEN:
    known = ", ".join(repr(f"{name}:") for name in _OPEN)
    raise GatoError(
      f"source {source.dataset!r} must begin with {known}, "
      "e.g. 'tfds:rlu_control_suite/walker_walk'"
    )

  return _OPEN[form](source, place)


def columns(
  opened: tfds.core.DatasetBuilder | FileRecording, source: Source, used: Collection[str]
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the columns [T, ...] of each episode, by path.

  Args:
    opened: Of `load`.
    source: What was opened; its split counts.
    used: Paths of numbers and texts that are read; images are not decoded.
  """
  if isinstance(opened, FileRecording):
    yield from recording.episodes(opened.reader, source.split, used, source.dataset)
    return

  fields = flatten(nested_features(opened.info.features["steps"].feature))
  images = [path for path, feature in fields.items() if isinstance(feature, tfds.features.Image)]
  decoders = undecoded(images)

  for episode in tfds_source.Examples(source.dataset, opened, source.split, decoders=decoders):
    steps = [flatten(step) for step in episode["steps"]]
    yield {path: np.array([step[path] for step in steps]) for path in used}


def undecoded(images: Collection[str]) -> dict[str, Any]:
  """Returns TFDS' decoders that leave images of a step, given by path, encoded."""
  if not images:
    return {}
  return {"steps": nested(dict.fromkeys(images, tfds.decode.SkipDecoding()))}


def nested_features(features: Any) -> Any:
  """Converts TFDS' nested FeaturesDict to nested dicts of features."""
  if isinstance(features, tfds.features.FeaturesDict):
    return {key: nested_features(feature) for key, feature in features.items()}
  return features


def _rlds(source: Source, place: str) -> tfds.core.DatasetBuilder:
  directory = _existing(source)
  try:
    return tfds.builder_from_directory(directory)
  except Exception as e:
    # TFDS, json and protobuf raise unrelated types for what is no dataset.
    raise GatoError(
      f"{source.dataset}: no dataset that TFDS wrote, which has dataset_info.json and features.json"
      f" ({tfds_source.reason(e)})"
    ) from e


def _minari(source: Source, place: str) -> FileRecording:
  from rlds_builders.recordings import hdf5

  directory = pathlib.Path(place)
  if not directory.exists():
    root = os.environ.get("MINARI_DATASETS_PATH", "~/.minari/datasets")
    directory = pathlib.Path(root).expanduser() / place
  file = directory / "data/main_data.hdf5"
  if not file.exists():
    raise MissingData(
      f"{source.dataset}: no {file}; `minari download {place}` gets it (Arrow is not read)"
    )
  return FileRecording(source.dataset, hdf5.open_file(file))


def _hdf5(source: Source, place: str) -> FileRecording:
  from rlds_builders.recordings import hdf5

  return FileRecording(source.dataset, hdf5.open_file(_existing(source)))


def _npz(source: Source, place: str) -> FileRecording:
  from rlds_builders.recordings import npz

  return FileRecording(source.dataset, npz.NpzEpisodes(_existing(source)))


def _lerobot(source: Source, place: str) -> FileRecording:
  from rlds_builders.recordings import lerobot

  return FileRecording(source.dataset, lerobot.LeRobotEpisodes(_existing(source)))


_OPEN: Mapping[str, Callable[[Source, str], tfds.core.DatasetBuilder | FileRecording]] = {
  "tfds": lambda source, place: tfds_source.load(source),
  "rlds": _rlds,
  "lerobot": _lerobot,
  "minari": _minari,
  "hdf5": _hdf5,
  "npz": _npz,
}


def _existing(source: Source) -> pathlib.Path:
  if not source.path.exists():
    raise MissingData(f"{source.dataset}: {source.path} does not exist")
  return source.path


def _feature(field: recording.Field) -> Any:
  """Returns TFDS' feature of a field."""
  if field.dtype == object:
    return tfds.features.Text()
  if field.is_image:
    return tfds.features.Image(shape=field.shape)
  return tfds.features.Tensor(shape=field.shape, dtype=field.dtype)
