"""RLDS episodes by random access: columns of one episode, of which only the asked-for steps are decoded."""

import contextlib
import io
import json
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from gato_jax import results, specs
from gato_jax.errors import GatoError

_INDEX = "gato_index.json"


def load_builder(directory: pathlib.Path) -> tfds.core.DatasetBuilder:
  """The prepared dataset in `directory`; GatoError says how to build it when it is not there."""
  if not (directory / "dataset_info.json").exists():
    raise GatoError(f"no dataset in {directory}; run python -m experiments.build")
  return tfds.builder_from_directory(directory)


class Documents:
  """The documents of a text task."""

  def __init__(self, builder: tfds.core.DatasetBuilder, spec: specs.TaskSpec):
    self.spec = spec
    self._source = builder.as_data_source("train")

  def __len__(self) -> int:
    return len(self._source)

  def text(self, index: int) -> str:
    return self._source[index]["text"].decode()


class Episodes:
  """The episodes of a control task.

  Attributes:
    spec: the task's spec, from the dataset.
    returns, lengths: float64, int64 [episodes], in collection order.
    expert_return: GATO_SPEC section 4's expert return, of the undisturbed episodes.
    kept: indices of the episodes whose return reaches `keep` of the expert return.
  """

  def __init__(self, builder: tfds.core.DatasetBuilder, spec: specs.TaskSpec, keep: float = 0.8):
    self.spec = spec
    self.directory = pathlib.Path(builder.data_dir)
    self._source = builder.as_data_source("train", decoders={"steps": tfds.decode.SkipDecoding()})
    index = _episode_index(self.directory, self._source)
    self.returns = np.asarray(index["return"])
    self.lengths = np.asarray(index["length"])
    self.expert_return = results.expert_return(self.returns[~np.asarray(index["disturbed"])])
    threshold = self.expert_return - (1 - keep) * abs(self.expert_return)
    self.kept = np.flatnonzero(self.returns >= threshold)

  def __len__(self) -> int:
    return len(self.returns)

  def columns(self, index: int, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Step columns of a whole episode, its last step included, as RLDS names them."""
    steps = self._source[index]["steps"]
    return {key: steps[key] for key in keys}

  def best_starts(self, count: int = 4, steps: int = 64) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    """The first steps of the best episodes: demonstrations for prompting."""
    best = self.kept[np.argsort(-self.returns[self.kept], kind="stable")[:count]]
    return [self.window(int(i), 0, min(steps, int(self.lengths[i]))) for i in best]

  def window(self, index: int, start: int, stop: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Flat observation columns and actions of steps [start, stop); images outside the window stay encoded.

    Raises:
      GatoError: the record cannot be read.
    """
    with _reading(self.directory):
      steps = self._source[index]["steps"]
      observation = {
        key: _decode(column[start:stop], self.spec.observation[key])
        for key, column in specs.flatten(steps["observation"]).items()
      }
      return observation, steps["action"][start:stop]


@contextlib.contextmanager
def _reading(directory: pathlib.Path) -> Iterator[None]:
  """A record that cannot be read ends in one line."""
  try:
    yield
  except Exception as e:  # array_record, protobuf and Pillow raise unrelated types for a corrupt record
    raise GatoError(
      f"{directory}: a record cannot be read ({type(e).__name__}: {e}); delete the folder, run experiments.build again"
    ) from e


def _decode(column: np.ndarray, spec: Any) -> np.ndarray:
  if len(spec.shape) == 3 and spec.dtype == np.uint8:
    return np.stack([np.asarray(Image.open(io.BytesIO(png))).reshape(spec.shape) for png in column])
  return column


def _episode_index(directory: pathlib.Path, source: Any) -> Mapping[str, list[float]]:
  """Returns and lengths of all episodes: read once, then kept beside the records."""
  path = directory / _INDEX
  if path.exists():
    return json.loads(path.read_text())
  with _reading(directory):
    metadata = [source[i]["episode_metadata"] for i in range(len(source))]
  index = {key: [np.asarray(m[key]).item() for m in metadata] for key in ("return", "length", "seed", "disturbed")}
  partial = path.with_suffix(".partial")
  partial.write_text(json.dumps(index))
  partial.rename(path)
  return index


def load(tfds_dir: pathlib.Path, task: str, keep: float = 0.8, version: str = "1.0.0") -> Episodes | Documents:
  """The dataset of "domain.task" under `tfds_dir`."""
  domain, name = task.split(".", 1)
  builder = load_builder(pathlib.Path(tfds_dir) / domain / name / version)
  spec = specs.TaskSpec.from_json(builder.info.metadata["spec"])
  return Documents(builder, spec) if spec.is_document else Episodes(builder, spec, keep)
