"""RLDS records as whole episodes and documents: the source of truth, for preparing and checking.

Training does not read them: it reads their prepared form (gato_jax/data/prepared.py).
"""

import contextlib
import io
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from gato_jax import documents
from gato_jax.data import tensorflow_cpu  # noqa: F401  before TensorFlow looks for a GPU
from gato_jax.data.record_files import TFRecordSource
from gato_jax.errors import GatoError
from gato_jax.storage import files
from gato_jax.task import TaskSpec, flatten


def directory_of(tfds_dir: pathlib.Path, task: str, version: str = "1.0.0") -> pathlib.Path:
  """Returns the directory of the dataset of "domain.task" under `tfds_dir`."""
  domain, name = task.split(".", 1)
  return pathlib.Path(tfds_dir) / domain / name / version


def load_builder(directory: pathlib.Path) -> tfds.core.DatasetBuilder:
  """Opens the dataset in `directory`.

  Raises:
    GatoError: There is no dataset, or it is damaged; the message says how to build it.
  """
  if not (directory / "dataset_info.json").exists():
    raise GatoError(f"no dataset in {directory}; run python -m experiments.build")

  with _readable_errors(directory):
    return tfds.builder_from_directory(directory)


def has_records(directory: pathlib.Path) -> bool:
  """Returns False where a dataset has a description only: recorded episodes lie elsewhere."""
  return bool(load_builder(directory).info.splits)


def _open(directory: pathlib.Path, split: str, **settings: Any) -> Any:
  """Opens the records of a split for random access.

  Raises:
    GatoError: There are none, or one of the files is missing, empty or only a pointer.
  """
  builder = load_builder(directory)

  with _readable_errors(directory):
    if split not in builder.info.splits:
      raise GatoError(f"no records of the split {split!r}")
    for path in builder.info.splits[split].filepaths:
      files.check_content(pathlib.Path(path))

    if builder.info.file_format == tfds.core.FileFormat.TFRECORD:
      return TFRecordSource(builder, split, **settings)
    return builder.as_data_source(split, **settings)


def load_spec(directory: pathlib.Path) -> TaskSpec:
  """Reads the spec of the task whose dataset is in `directory`."""
  return TaskSpec.from_json(load_builder(directory).info.metadata["spec"])


class DocumentRecords:
  """The documents of a document task.

  Attributes:
    directory: Directory of the dataset.
    spec: The task's spec, from the dataset.
  """

  def __init__(self, directory: pathlib.Path, split: str = "train"):
    self.directory = directory
    self.spec = load_spec(directory)
    self._source = _open(directory, split)

  def __len__(self) -> int:
    return len(self._source)

  def document(self, index: int) -> documents.Document:
    """Reads one document.

    Raises:
      GatoError: The record cannot be read.
    """
    with _readable_errors(self.directory):
      record = self._source[index]

      match self.spec.document_kind:
        case "text":
          return record["text"].decode()

        case "captions":
          return documents.CaptionedImage(
            image=record["image"], captions=_decode_texts(record["captions"])
          )

        case "questions":
          return documents.Question(
            image=record["image"],
            question=record["question"].decode(),
            answers=_decode_texts(record["answers"]),
          )

        case "pages":
          # A segment is an image where its PNG is not empty, else a text.
          pngs = record["segments"]["image"]
          texts = _decode_texts(record["segments"]["text"])
          segments = zip(pngs, texts, strict=True)
          return documents.Page(tuple(_decode_png(png) if png else text for png, text in segments))

    raise AssertionError(self.spec)


class Episode(NamedTuple):
  """The steps of an episode that have an action: all but the last one, n in all.

  Attributes:
    observation: Flat key -> column [n, ...].
    action: [n, ...], the executed actions.
    expert_action: [n, ...], the actions that the expert would have taken; the executed ones where
      the records do not say.
    rewards: float32 [n].
    metadata: The record's episode_metadata.
    is_validation: True where whoever recorded the episode holds it out.
  """

  observation: dict[str, np.ndarray]
  action: np.ndarray
  expert_action: np.ndarray
  rewards: np.ndarray
  metadata: dict[str, Any]
  is_validation: bool = False


class EpisodeSource(Protocol):
  """Episodes of a control task in a fixed order, those of the validation split last.

  Attributes:
    spec: The task's spec.
  """

  spec: TaskSpec

  def __iter__(self) -> Iterator[Episode]: ...


class RecordStream(Protocol):
  """RLDS records that are read one after the other, of a dataset that does not keep them.

  Attributes:
    spec: The task's spec.
    splits: Names of the splits: that which trains, and after it that which is held out, if any.
  """

  spec: TaskSpec
  splits: list[str]

  def records(self, split: str) -> Iterator[dict[str, Any]]: ...


class StreamedEpisodes:
  """The episodes of a RecordStream (EpisodeSource), whose number is known only after reading.

  Attributes:
    spec: The task's spec.
  """

  def __init__(self, stream: RecordStream, directory: pathlib.Path):
    self.spec = stream.spec
    self._stream = stream
    self._directory = directory

  def __iter__(self) -> Iterator[Episode]:
    for number, split in enumerate(self._stream.splits):
      for index, record in enumerate(self._stream.records(split)):
        yield episode_of(
          record,
          self.spec,
          where=f"{self.spec.name}, episode {index} of {split}",
          directory=self._directory,
          is_validation=number > 0,
        )


class EpisodeRecords:
  """The episodes of a control task.

  Attributes:
    directory: Directory of the dataset.
    spec: The task's spec, from the dataset.
  """

  def __init__(self, directory: pathlib.Path):
    self.directory = directory
    self.spec = load_spec(directory)

    # Without TFDS's decoders the steps of a record are columns of encoded values, not a dataset.
    decoders = {"steps": tfds.decode.SkipDecoding()}
    self._training = _open(directory, "train", decoders=decoders)
    self._validation: Sequence[Any] = ()
    if "validation" in load_builder(directory).info.splits:
      self._validation = _open(directory, "validation", decoders=decoders)

  def __len__(self) -> int:
    return len(self._training) + len(self._validation)

  def __iter__(self) -> Iterator[Episode]:
    return map(self.episode, range(len(self)))

  def _record(self, index: int) -> Any:
    count = len(self._training)
    return self._training[index] if index < count else self._validation[index - count]

  def columns(self, index: int, keys: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads step columns of a whole episode, the last step included, by their RLDS names."""
    with _readable_errors(self.directory):
      steps = self._record(index)["steps"]

    return {key: steps[key] for key in keys}

  def episode(self, index: int) -> Episode:
    """Reads one episode.

    Raises:
      GatoError: The record cannot be read, its metadata gives another length, or a number is not
        finite.
    """
    with _readable_errors(self.directory):
      record = self._record(index)

    return episode_of(
      record,
      self.spec,
      where=f"{self.spec.name}, episode {index}",
      directory=self.directory,
      is_validation=index >= len(self._training),
    )


def open_episodes(
  directory: pathlib.Path, source: Callable[[], RecordStream] | None = None
) -> EpisodeSource:
  """Opens the episodes of a dataset: its records, or what they are read from where it has none.

  Args:
    directory: Directory of the dataset.
    source: Opens recorded episodes where they lie; None for tasks that have records.
  """
  if source and not has_records(directory):
    return StreamedEpisodes(source(), directory)
  return EpisodeRecords(directory)


def episode_of(
  record: Mapping[str, Any],
  spec: TaskSpec,
  where: str,
  directory: pathlib.Path,
  is_validation: bool,
) -> Episode:
  """Converts an RLDS record to an Episode.

  Args:
    record: The columns of its "steps", images as PNGs or pixels, and its "episode_metadata".
    spec: The task's spec.
    where: Begins messages.
    directory: Of the dataset, for messages.
    is_validation: True where it is held out.

  Raises:
    GatoError: An image cannot be decoded, the metadata gives another length, or a number is not
      finite.
  """
  steps = record["steps"]
  metadata = record["episode_metadata"]

  with _readable_errors(directory):
    # RLDS ends an episode with a step that has an observation and no action.
    n = len(steps["action"]) - 1
    observation = {
      key: _decode_images(column[:n], spec.observation[key])
      for key, column in flatten(steps["observation"]).items()
    }

  if n != metadata["length"]:
    raise GatoError(f"{where} has {n} steps, its metadata says {metadata['length']}")

  # Recorded datasets, and older ones, have no expert_action.
  action = steps["action"][:n]
  expert_action = steps.get("expert_action", steps["action"])[:n]
  rewards = steps["reward"][:n]

  columns = {
    **observation,
    "action": action,
    "expert_action": expert_action,
    "reward": rewards,
  }
  for key, column in columns.items():
    if column.dtype.kind == "f" and not np.isfinite(column).all():
      step = np.argwhere(~np.isfinite(column))[0, 0]
      raise GatoError(f"{where}, step {step}, {key}: {column[step]}; every number must be finite")

  if not np.isfinite(metadata["return"]):
    raise GatoError(f"{where}: its return is {metadata['return']}; it must be finite")

  return Episode(
    observation=observation,
    action=action,
    expert_action=expert_action,
    rewards=rewards,
    metadata=dict(metadata),
    is_validation=is_validation,
  )


def _decode_texts(texts: Iterable[bytes]) -> tuple[str, ...]:
  return tuple(text.decode() for text in texts)


def _decode_png(png: bytes) -> np.ndarray:
  return np.asarray(Image.open(io.BytesIO(png)))


def _decode_images(column: np.ndarray, spec: Any) -> np.ndarray:
  """Decodes the PNGs of a column of images; other columns stay as they are."""
  is_image = len(spec.shape) == 3 and spec.dtype == np.uint8
  if is_image and column.dtype != np.uint8:
    return np.stack([_decode_png(png).reshape(spec.shape) for png in column])

  return column


@contextlib.contextmanager
def _readable_errors(directory: pathlib.Path) -> Iterator[None]:
  """Turns any error while a dataset is read into a GatoError of one line."""
  advice = "delete the folder, run experiments.build again"

  # array_record, protobuf and Pillow raise unrelated types for a corrupt record.
  try:
    yield
  except GatoError as e:
    raise GatoError(f"{directory} is damaged ({e}); {advice}") from e
  except Exception as e:
    reason = " ".join(str(e).split())
    raise GatoError(
      f"{directory}: a record cannot be read ({type(e).__name__}: {reason}); {advice}"
    ) from e
