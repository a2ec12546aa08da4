"""RLDS records read whole: the source of truth, for preparing and checking. Training reads what is prepared."""

import contextlib
import io
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from gato_jax import specs
from gato_jax.errors import GatoError


def directory_of(tfds_dir: pathlib.Path, task: str, version: str = "1.0.0") -> pathlib.Path:
  """Where the dataset of "domain.task" lies under `tfds_dir`."""
  domain, name = task.split(".", 1)
  return pathlib.Path(tfds_dir) / domain / name / version


def load_builder(directory: pathlib.Path) -> tfds.core.DatasetBuilder:
  """The dataset in `directory`; GatoError says how to build it when it is not there."""
  if not (directory / "dataset_info.json").exists():
    raise GatoError(f"no dataset in {directory}; run python -m experiments.build")
  return tfds.builder_from_directory(directory)


def load_spec(directory: pathlib.Path) -> specs.TaskSpec:
  """The spec of the task whose dataset lies in `directory`."""
  return specs.TaskSpec.from_json(load_builder(directory).info.metadata["spec"])


class Documents:
  """The documents of a text task."""

  def __init__(self, directory: pathlib.Path):
    self.directory = directory
    self._source = load_builder(directory).as_data_source("train")

  def __len__(self) -> int:
    return len(self._source)

  def text(self, index: int) -> str:
    with _reading(self.directory):
      return self._source[index]["text"].decode()


class Episodes:
  """The episodes of a control task.

  Attributes:
    spec: the task's spec, from the dataset.
  """

  def __init__(self, directory: pathlib.Path):
    self.directory = directory
    self.spec = load_spec(directory)
    self._source = load_builder(directory).as_data_source("train", decoders={"steps": tfds.decode.SkipDecoding()})

  def __len__(self) -> int:
    return len(self._source)

  def columns(self, index: int, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Step columns of a whole episode, its last step included, as RLDS names them."""
    with _reading(self.directory):
      steps = self._source[index]["steps"]
    return {key: steps[key] for key in keys}

  def episode(self, index: int) -> tuple[dict[str, np.ndarray], np.ndarray, dict[str, Any]]:
    """Flat observation columns [n, ...] and actions [n, ...] of the n steps with an action, and the metadata.

    Raises:
      GatoError: the record cannot be read, or its metadata gives another length.
    """
    with _reading(self.directory):
      record = self._source[index]
      steps, metadata = record["steps"], record["episode_metadata"]
      n = len(steps["action"]) - 1
      observation = {
        key: _decode(column[:n], self.spec.observation[key])
        for key, column in specs.flatten(steps["observation"]).items()
      }
    if n != metadata["length"]:
      raise GatoError(f"{self.directory}: episode {index} has {n} steps, its metadata says {metadata['length']}")
    return observation, steps["action"][:n], metadata


def _decode(column: np.ndarray, spec: Any) -> np.ndarray:
  if len(spec.shape) == 3 and spec.dtype == np.uint8:
    return np.stack([np.asarray(Image.open(io.BytesIO(png))).reshape(spec.shape) for png in column])
  return column


@contextlib.contextmanager
def _reading(directory: pathlib.Path) -> Iterator[None]:
  """A record that cannot be read ends in one line."""
  try:
    yield
  except Exception as e:  # array_record, protobuf and Pillow raise unrelated types for a corrupt record
    raise GatoError(
      f"{directory}: a record cannot be read ({type(e).__name__}: {e}); delete the folder, run experiments.build again"
    ) from e
