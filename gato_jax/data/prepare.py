"""RLDS records -> the prepared form that training reads (gato_jax/data/episodes.py has its layout)."""

import json
import os
import pathlib
import shutil
from typing import BinaryIO

import numpy as np
import tqdm
import zstandard

from gato_jax import documents, returns, specs
from gato_jax.data import episodes, records
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout, prose
from gato_jax.tokens.vocabulary import Kind

_ZSTD_LEVEL = 3
_KNOWN_TEXTS = 100_000


def prepare(tfds_dir: pathlib.Path, task: str, text: codec.TextCodec, version: str = "1.0.0") -> bool:
  """Writes the prepared form of "domain.task" unless it is there and fits; returns whether there was anything to do.

  It appears whole or not at all: what a kill leaves behind is never read and written again.

  Raises:
    GatoError: there is no dataset, or a record of it cannot be read.
  """
  directory = records.directory_of(tfds_dir, task, version)
  spec = records.load_spec(directory)
  folder = directory / episodes.FOLDER
  tokenizer = episodes.tokenizer_fingerprint(text) if spec.is_document else None
  if not episodes.fault(directory) and json.loads((folder / "prepared.json").read_text())["tokenizer"] == tokenizer:
    return False
  partial = folder.with_suffix(".partial")
  shutil.rmtree(partial, ignore_errors=True)
  partial.mkdir()
  with (partial / "data.bin").open("wb") as file:
    if spec.is_document:
      index = _write_documents(records.Documents(directory), text, file, task)
    else:
      index = _write_episodes(records.Episodes(directory), file, task)
    file.flush()
    os.fsync(file.fileno())
    size = file.tell()
  np.save(partial / "index.npy", index)
  header = {
    "format": episodes.FORMAT,
    "source": episodes.source_fingerprint(directory),
    "tokenizer": tokenizer,
    "bytes": size,
    "index": episodes.index_fingerprint(partial),
  }
  (partial / "prepared.json").write_text(json.dumps(header, indent=1))
  shutil.rmtree(folder, ignore_errors=True)
  partial.rename(folder)
  return True


def _write_documents(source: records.Documents, text: codec.TextCodec, file: BinaryIO, task: str) -> np.ndarray:
  index = []
  for i in _progress(len(source), task, "document"):
    places: dict[int, tuple[int, ...]] = {}  # a picture is written once for all its captions
    document = source.document(i)
    for sequence in documents.sequences(document):
      pictures = [part for part in sequence if not isinstance(part, str)]
      for picture in pictures:
        if id(picture) not in places:
          frame = _compressor().compress(picture.tobytes())
          places[id(picture)] = (file.tell(), len(frame), *picture.shape[:2])
          file.write(frame)
      encoded = prose.encode(sequence, text, given=documents.given(document))
      tokens = np.where(encoded.kinds == Kind.PATCH, episodes.PATCH_MARK, encoded.tokens)
      index.append((file.tell(), len(tokens), len(pictures), len(encoded.patches), encoded.given.sum(), i))
      file.write(np.array([places[id(picture)] for picture in pictures], episodes.PICTURE).tobytes())
      file.write(episodes.with_checks(tokens.astype(episodes.TOKEN)))
  return np.array(index, episodes.DOCUMENT)


def _write_episodes(source: records.Episodes, file: BinaryIO, task: str) -> np.ndarray:
  index = np.zeros(len(source), episodes.EPISODE)
  compressor = _compressor()
  dtype = episodes.step_dtype(source.spec)
  texts: dict[bytes, tuple[int, int]] = {}

  def append(content: bytes) -> tuple[int, int]:
    frame = compressor.compress(content)
    place = (file.tell(), len(frame))
    file.write(frame)
    return place

  def append_text(content: bytes) -> tuple[int, int]:
    if content not in texts:
      if len(texts) >= _KNOWN_TEXTS:
        texts.clear()
      texts[content] = append(content)
    return texts[content]

  for i in _progress(len(source), task, "episode"):
    observation, action, expert_action, rewards, metadata = source.episode(i)
    steps = np.zeros(len(action), dtype)
    steps["action"] = _same_dtype(action, dtype["action"], f"{task}, action")
    steps["expert_action"] = _same_dtype(expert_action, dtype["expert_action"], f"{task}, expert_action")
    for key, column in observation.items():
      field = f"observation/{key}"
      kind = layout.kind_of(key, source.spec.observation[key])
      if kind == Kind.TEXT:
        steps[field] = [append_text(value) for value in column]
      elif kind == Kind.PATCH:
        steps[field] = [append(image.tobytes()) for image in column]
      else:
        steps[field] = _same_dtype(column, dtype[field], f"{task}, {key}")
    steps[specs.RETURN_TO_GO] = returns.to_go(rewards)
    steps["check"] = episodes.check_sums(steps)
    index[i] = (file.tell(), len(steps), metadata["return"], metadata["seed"], metadata["disturbed"])
    file.write(steps.tobytes())
  return index


def _compressor() -> zstandard.ZstdCompressor:
  return zstandard.ZstdCompressor(level=_ZSTD_LEVEL, write_checksum=True)


def _same_dtype(column: np.ndarray, dtype: np.dtype, where: str) -> np.ndarray:
  if column.dtype != dtype.base:
    raise GatoError(f"{where}: the records hold {column.dtype}, the spec says {dtype.base}")
  return column


def _progress(count: int, task: str, unit: str) -> tqdm.tqdm:
  return tqdm.tqdm(range(count), desc=f"prepare {task}", unit=unit, leave=False, dynamic_ncols=True, delay=2)
