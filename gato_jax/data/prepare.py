"""Writes the prepared form of datasets, which training reads, from their RLDS records or a source.

gato_jax/data/prepared_format.py has the format of the files.
"""

import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, TypeVar

import numpy as np
import zstandard

from gato_jax import documents, progress
from gato_jax.data import prepared_format, records
from gato_jax.env import returns
from gato_jax.errors import GatoError
from gato_jax.storage import lock
from gato_jax.task import TaskSpec
from gato_jax.tokens import codec, document_layout, fields
from gato_jax.tokens.vocabulary import Kind

_T = TypeVar("_T")

_ZSTD_LEVEL = 3

# Texts whose place in data.bin is remembered, so that a repeated text is written once.
_KNOWN_TEXTS = 100_000


def prepare(
  tfds_dir: pathlib.Path,
  task: str,
  text: codec.TextCodec,
  version: str = "1.0.0",
  source: Callable[[], records.RecordStream] | None = None,
) -> bool:
  """Writes the prepared form of a dataset unless there is one that fits its records.

  It appears complete or not at all: a killed run leaves files that are never read and are written
  again.

  Args:
    tfds_dir: Directory of all datasets.
    task: "domain.task".
    text: The tokenizer, for documents.
    version: Version of the dataset.
    source: Opens the episodes of a dataset without records, which are read where they lie.

  Returns:
    True when there was anything to do.

  Raises:
    GatoError: There is no dataset, a record of it cannot be read, or another build is writing it.
  """
  directory = records.directory_of(tfds_dir, task, version)
  spec = records.load_spec(directory)
  folder = directory / prepared_format.FOLDER

  # Only documents are stored as tokens.
  tokenizer = prepared_format.tokenizer_fingerprint(text) if spec.is_document else None
  if not prepared_format.fault(directory):
    there = json.loads((folder / "prepared.json").read_text())
    if there["tokenizer"] == tokenizer:
      return False

  with lock.only_writer(directory.parent, "build"):
    _write(directory, task, text, spec=spec, tokenizer=tokenizer, source=source)
  return True


def _write(
  directory: pathlib.Path,
  task: str,
  text: codec.TextCodec,
  *,
  spec: TaskSpec,
  tokenizer: str | None,
  source: Callable[[], records.RecordStream] | None,
) -> None:
  """Writes the prepared form beside the one that may be there, and then takes its place."""
  folder = directory / prepared_format.FOLDER
  partial = folder.with_suffix(".partial")
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir()

  validation_from: int | None = None
  with (partial / "data.bin").open("wb") as file:
    if spec.is_document:
      index = _write_documents(records.DocumentRecords(directory), text, file=file, task=task)
    else:
      episodes = records.open_episodes(directory, source)
      index, validation_from = _write_episodes(episodes, file, task=task)

    # The data is on the disk before the rename below makes it visible.
    file.flush()
    os.fsync(file.fileno())
    size = file.tell()

  np.save(partial / "index.npy", index)
  header: dict[str, Any] = {
    "format": prepared_format.FORMAT,
    "source": prepared_format.source_fingerprint(directory),
    "tokenizer": tokenizer,
    "bytes": size,
    "index": prepared_format.index_fingerprint(partial),
  }
  if validation_from is not None:
    header["validation_from"] = validation_from
  (partial / "prepared.json").write_text(json.dumps(header, indent=1))

  shutil.rmtree(folder, ignore_errors=True)
  partial.rename(folder)


def _write_documents(
  source: records.DocumentRecords, text: codec.TextCodec, file: BinaryIO, task: str
) -> np.ndarray:
  """Writes all documents to data.bin and returns their index, DOCUMENT [sequences]."""
  compressor = _compressor()
  index = []

  for document_index in _progress(range(len(source)), task, unit="document"):
    document = source.document(document_index)

    # An image is written once for all its captions. Its id is its address, which is unique while
    # the document lives.
    images: dict[int, tuple[int, ...]] = {}

    for sequence in documents.sequences(document):
      sequence_images = [part for part in sequence if not isinstance(part, str)]
      for image in sequence_images:
        if id(image) not in images:
          frame = compressor.compress(image.tobytes())
          images[id(image)] = (file.tell(), len(frame), *image.shape[:2])
          file.write(frame)

      encoded = document_layout.encode(sequence, text, given=documents.given(document))
      is_patch = encoded.kinds == Kind.PATCH
      tokens = np.where(is_patch, prepared_format.PATCH_MARK, encoded.tokens)

      entry = (
        file.tell(),
        len(tokens),
        len(sequence_images),
        len(encoded.patches),
        encoded.given.sum(),
        document_index,
      )
      index.append(entry)

      table = np.array([images[id(image)] for image in sequence_images], prepared_format.IMAGE)
      file.write(table.tobytes())
      file.write(prepared_format.with_checks(tokens.astype(prepared_format.TOKEN)))

  return np.array(index, prepared_format.DOCUMENT)


def _write_episodes(
  source: records.EpisodeSource, file: BinaryIO, task: str
) -> tuple[np.ndarray, int | None]:
  """Writes all episodes to data.bin.

  Returns:
    Their index, EPISODE [episodes], and the index of the first one that the dataset holds out; None
    where it holds out none.
  """
  index: list[tuple[Any, ...]] = []
  validation_from = None
  compressor = _compressor()
  dtype = prepared_format.step_dtype(source.spec)
  texts: dict[bytes, tuple[int, int]] = {}

  def append(content: bytes) -> tuple[int, int]:
    """Appends a Zstandard frame and returns its BLOB."""
    frame = compressor.compress(content)
    blob = (file.tell(), len(frame))
    file.write(frame)
    return blob

  def append_text(content: bytes) -> tuple[int, int]:
    """Appends a text unless it was written before, and returns its BLOB."""
    if content not in texts:
      # Tasks with ever new texts must not fill the memory; a forgotten text is written again.
      if len(texts) >= _KNOWN_TEXTS:
        texts.clear()
      texts[content] = append(content)

    return texts[content]

  for episode in _progress(source, task, unit="episode"):
    if episode.is_validation and validation_from is None:
      validation_from = len(index)

    steps = np.zeros(len(episode.action), dtype)
    steps["action"] = _checked(episode.action, dtype["action"], name=f"{task}, action")
    steps["expert_action"] = _checked(
      episode.expert_action, dtype["expert_action"], name=f"{task}, expert_action"
    )

    for key, column in episode.observation.items():
      field = f"observation/{key}"
      kind = fields.kind_of(key, source.spec.observation[key])
      if kind == Kind.TEXT:
        steps[field] = [append_text(value) for value in column]
      elif kind == Kind.PATCH:
        steps[field] = [append(image.tobytes()) for image in column]
      else:
        steps[field] = _checked(column, dtype[field], name=f"{task}, {key}")

    steps[returns.RETURN_TO_GO] = returns.to_go(episode.rewards)

    # The check sums cover all other fields, so they come last.
    steps["check"] = prepared_format.check_sums(steps)

    metadata = episode.metadata
    entry = (
      file.tell(),
      len(steps),
      metadata["return"],
      metadata["seed"],
      metadata["disturbed"],
      prepared_format.group_id(_group(metadata)),
    )
    index.append(entry)
    file.write(steps.tobytes())

  return np.array(index, prepared_format.EPISODE), validation_from


def _group(metadata: Mapping[str, Any]) -> str:
  """Returns the group that an episode's info names; "" where it names none."""
  # Datasets of older versions have no info.
  return str(json.loads(metadata.get("info", "{}")).get("group", ""))


def _compressor() -> zstandard.ZstdCompressor:
  return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)


def _checked(column: np.ndarray, dtype: np.dtype, name: str) -> np.ndarray:
  """Returns the column; GatoError where its dtype is another, which NumPy would cast silently."""
  if column.dtype != dtype.base:
    raise GatoError(f"{name}: the records hold {column.dtype}, the spec says {dtype.base}")

  return column


def _progress(items: Iterable[_T], task: str, unit: str) -> Iterable[_T]:
  return progress.Bar(items, f"prepare {task}", unit=unit, leave=False, delay=2)
