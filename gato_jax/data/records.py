"""RLDS records read whole: the source of truth, for preparing and checking. Training reads what is prepared."""

import contextlib
import io
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from gato_jax import documents, files, specs
from gato_jax.errors import GatoError


def directory_of(tfds_dir: pathlib.Path, task: str, version: str = "1.0.0") -> pathlib.Path:
  """Where the dataset of "domain.task" lies under `tfds_dir`."""
  domain, name = task.split(".", 1)
  return pathlib.Path(tfds_dir) / domain / name / version


def load_builder(directory: pathlib.Path) -> tfds.core.DatasetBuilder:
  """The dataset in `directory`; GatoError says how to build it when it is not there or damaged."""
  if not (directory / "dataset_info.json").exists():
    raise GatoError(f"no dataset in {directory}; run python -m experiments.build")
  with _reading(directory):
    return tfds.builder_from_directory(directory)


def _open(directory: pathlib.Path, split: str, **settings: Any) -> Any:
  """Opens the records of a split; GatoError where one of its files is missing, empty or only a pointer."""
  builder = load_builder(directory)
  with _reading(directory):
    for path in builder.info.splits[split].filepaths:
      files.check_content(pathlib.Path(path))
    return builder.as_data_source(split, **settings)


def load_spec(directory: pathlib.Path) -> specs.TaskSpec:
  """The spec of the task whose dataset lies in `directory`."""
  return specs.TaskSpec.from_json(load_builder(directory).info.metadata["spec"])


class Documents:
  """The documents of a document task.

  Attributes:
    spec: the task's spec, from the dataset.
  """

  def __init__(self, directory: pathlib.Path, split: str = "train"):
    self.directory = directory
    self.spec = load_spec(directory)
    self._source = _open(directory, split)

  def __len__(self) -> int:
    return len(self._source)

  def document(self, index: int) -> documents.Document:
    """GatoError where the record cannot be read."""
    with _reading(self.directory):
      record = self._source[index]
      match self.spec.document_kind:
        case "text":
          return record["text"].decode()
        case "captions":
          return documents.Captioned(record["image"], _decoded(record["captions"]))
        case "questions":
          return documents.Question(record["image"], record["question"].decode(), _decoded(record["answers"]))
        case "pages":
          segments = zip(record["segments"]["image"], _decoded(record["segments"]["text"]), strict=True)
          return documents.Page(tuple(_picture(png) if png else text for png, text in segments))
    raise AssertionError(self.spec)


def _decoded(texts: Iterable[bytes]) -> tuple[str, ...]:
  return tuple(text.decode() for text in texts)


def _picture(png: bytes) -> np.ndarray:
  return np.asarray(Image.open(io.BytesIO(png)))


class Episode(NamedTuple):
  """An episode's n steps that have an action.

  Attributes:
    observation: flat key -> column [n, ...].
    action: [n, ...], what was executed.
    expert_action: [n, ...], what the expert would have done there; the same where the records do not say.
    rewards: float32 [n].
    metadata: the record's episode_metadata.
  """

  observation: dict[str, np.ndarray]
  action: np.ndarray
  expert_action: np.ndarray
  rewards: np.ndarray
  metadata: dict[str, Any]


class Episodes:
  """The episodes of a control task.

  Attributes:
    spec: the task's spec, from the dataset.
  """

  def __init__(self, directory: pathlib.Path):
    self.directory = directory
    self.spec = load_spec(directory)
    self._source = _open(directory, "train", decoders={"steps": tfds.decode.SkipDecoding()})

  def __len__(self) -> int:
    return len(self._source)

  def columns(self, index: int, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Step columns of a whole episode, its last step included, as RLDS names them."""
    with _reading(self.directory):
      steps = self._source[index]["steps"]
    return {key: steps[key] for key in keys}

  def episode(self, index: int) -> "Episode":
    """Reads one episode.

    Raises:
      GatoError: the record cannot be read, its metadata gives another length, or a number is not finite.
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

    actions = {name: steps.get(name, steps["action"])[:n] for name in ("action", "expert_action")}
    columns = {**observation, **actions, "reward": steps["reward"][:n]}
    for key, column in columns.items():
      if column.dtype.kind == "f" and not np.isfinite(column).all():
        step = np.argwhere(~np.isfinite(column))[0, 0]
        raise GatoError(
          f"{self.spec.name}, episode {index}, step {step}, {key}: {column[step]}; every number must be finite"
        )
    if not np.isfinite(metadata["return"]):
      raise GatoError(f"{self.spec.name}, episode {index}: its return is {metadata['return']}; it must be finite")
    return Episode(observation, *actions.values(), columns["reward"], metadata)


def _decode(column: np.ndarray, spec: Any) -> np.ndarray:
  if len(spec.shape) == 3 and spec.dtype == np.uint8:
    return np.stack([_picture(png).reshape(spec.shape) for png in column])
  return column


@contextlib.contextmanager
def _reading(directory: pathlib.Path) -> Iterator[None]:
  """A dataset that cannot be read ends in one line."""
  again = "delete the folder, run experiments.build again"
  try:
    yield
  except GatoError as e:
    raise GatoError(f"{directory} is damaged ({e}); {again}") from e
  except Exception as e:  # array_record, protobuf and Pillow raise unrelated types for a corrupt record
    reason = " ".join(str(e).split())
    raise GatoError(f"{directory}: a record cannot be read ({type(e).__name__}: {reason}); {again}") from e
