"""File format of the prepared datasets: steps and pieces of documents by random access.

An RLDS record is one episode: to read a window of it, all of it has to be read and parsed. So each
dataset has a prepared form beside its records, written by gato_jax/data/prepare.py, read by
gato_jax/data/prepared.py and derived from the records alone. Episodes that others recorded are read
where they lie: their dataset is a description and the prepared form.

  <dataset>/gato_prepared/
    prepared.json   format, fingerprints of the records and of the tokenizer, size of data.bin,
                    hash of index.npy; validation_from, the index of the first episode that the
                    dataset itself holds out, where there is any
    index.npy       episodes: an EPISODE each
                    documents: a DOCUMENT for each sequence that is learned from a document
    data.bin        episodes: for each episode its images and new texts, a Zstandard frame each,
                    then its steps, a packed record each (`step_dtype`)
                    documents: for each document its images, a Zstandard frame each, then for each
                    sequence an IMAGE for every image in it and the token ids, with PATCH_MARK for
                    patches, in blocks of BLOCK_TOKENS with a CRC-32 behind each
"""

import hashlib
import json
import pathlib
import zlib
from typing import Any

import numpy as np

from gato_jax.env.returns import RETURN_TO_GO
from gato_jax.storage import files
from gato_jax.task import TaskSpec
from gato_jax.tokens import codec
from gato_jax.tokens.fields import kind_of
from gato_jax.tokens.vocabulary import Kind

FOLDER = "gato_prepared"
DATA = "data.bin"

# Stands for DATA where that is in a bucket: its address, size and version (data/mirror.py).
REMOTE = "data.bin.json"

# Increased when the files change; datasets of another format are prepared anew.
FORMAT = 5

# "group" is a `group_id`.
EPISODE = np.dtype(
  [
    ("offset", np.uint64),
    ("length", np.int64),
    ("return", np.float64),
    ("seed", np.int64),
    ("disturbed", np.bool_),
    ("group", np.int64),
  ]
)

# "given" counts the tokens before an answer, "document" is the index of the document.
DOCUMENT = np.dtype(
  [
    ("offset", np.int64),
    ("length", np.int64),
    ("pictures", np.int64),
    ("patches", np.int64),
    ("given", np.int64),
    ("document", np.int64),
  ]
)

# An image in data.bin: its Zstandard frame and its shape.
IMAGE = np.dtype(
  [("offset", np.uint64), ("size", np.uint32), ("height", np.uint16), ("width", np.uint16)]
)

# The Zstandard frame of a text or an image of a step.
BLOB = np.dtype([("offset", np.uint64), ("size", np.uint32)])

# A token id of a document. The largest number is no id, since there are 33,025 of them.
TOKEN = np.dtype(np.uint16)
PATCH_MARK = np.iinfo(TOKEN).max

# A window of a document reads only the blocks that it overlaps.
BLOCK_TOKENS = 512

# Bytes of a CRC-32.
CHECK_BYTES = 4

# Bytes of each sample that the fingerprint of a file is made of.
_SAMPLE_BYTES = 4096


def group_id(group: str) -> int:
  """Returns the number that stands for a group of episodes: equal for equal texts, 0 for "".

  The episodes of a group share what their observations hide, such as the goal or the dynamics.
  """
  return zlib.crc32(group.encode())


def step_dtype(spec: TaskSpec) -> np.dtype:
  """Returns the dtype of a packed step of a task.

  It holds tensors as they are, a BLOB for each text and image, both actions, the return-to-go in
  units of reward, and a check sum.
  """
  assert spec.action is not None, "documents have no steps"

  fields: list[tuple[Any, ...]] = []
  for key, field in sorted(spec.observation.items()):
    name = f"observation/{key}"
    if kind_of(key, field) in (Kind.TEXT, Kind.PATCH):
      fields.append((name, BLOB))
    else:
      fields.append((name, field.dtype, field.shape))

  for name in ("action", "expert_action"):
    fields.append((name, spec.action.dtype, spec.action.shape))

  return np.dtype([*fields, (RETURN_TO_GO, np.float32), ("check", np.uint32)])


def check_sums(steps: np.ndarray) -> np.ndarray:
  """Returns the CRC-32 of each packed step, uint32 [n], without the step's own "check".

  The CRC-32 of zeros is not zero, so a page that was never written is found.
  """
  size = steps.dtype.itemsize
  array = np.ascontiguousarray(steps)
  content = memoryview(array).cast("B")  # type: ignore[arg-type]  # NumPy's stub lacks Buffer

  # "check" is the last field of a step.
  sums = []
  for start in range(0, len(content), size):
    sums.append(zlib.crc32(content[start : start + size - CHECK_BYTES]))

  return np.array(sums, np.uint32)


def with_checks(tokens: np.ndarray) -> bytes:
  """Returns the bytes of TOKENs in data.bin, a CRC-32 behind each block."""
  parts = []
  for start in range(0, len(tokens), BLOCK_TOKENS):
    block = tokens[start : start + BLOCK_TOKENS].tobytes()
    parts.append(block + zlib.crc32(block).to_bytes(CHECK_BYTES, "little"))

  return b"".join(parts)


def source_fingerprint(directory: pathlib.Path) -> str:
  """Returns a hash of a dataset's description and of samples of its records.

  It reads at most a few dozen kilobytes, so that every start of a run can check it.
  """
  digest = hashlib.sha256((directory / "dataset_info.json").read_bytes())
  for name in ("features.json", "metadata.json"):
    digest.update((directory / name).read_bytes())

  # About four files, evenly spaced, and three samples of each.
  paths = sorted([*directory.glob("*.array_record*"), *directory.glob("*.tfrecord*")])
  for path in paths[:: max(1, len(paths) // 4)]:
    size = path.stat().st_size
    digest.update(f"{path.name} {size}".encode())

    with path.open("rb") as file:
      for offset in (0, size // 3, 2 * size // 3):
        file.seek(offset)
        digest.update(file.read(_SAMPLE_BYTES))

  return digest.hexdigest()[:16]


def tokenizer_fingerprint(text: codec.TextCodec) -> str:
  return hashlib.sha256(text.model).hexdigest()[:16]


def index_fingerprint(folder: pathlib.Path) -> str:
  return hashlib.sha256((folder / "index.npy").read_bytes()).hexdigest()[:16]


def remote_data(folder: pathlib.Path) -> dict[str, Any] | None:
  """Returns the content of REMOTE, or None where the data is on this machine."""
  path = folder / REMOTE
  return files.read_json(path, "delete it and start again") if path.exists() else None


def fault(directory: pathlib.Path) -> str:
  """Returns why the prepared form of the dataset in `directory` cannot be used, or ""."""
  folder = directory / FOLDER
  if not (folder / "prepared.json").exists():
    return f"{directory} is not prepared for training"

  header = json.loads((folder / "prepared.json").read_text())
  if header["format"] != FORMAT:
    return f"{folder} is of format {header['format']}, this version reads {FORMAT}"

  # The records of a dataset in a bucket are not on this machine.
  remote = remote_data(folder)
  if remote is None and header["source"] != source_fingerprint(directory):
    return f"{folder} was prepared from other records than those beside it"

  # The data may be huge: its size stands for its content, which is checked when it is read.
  is_complete = (folder / "index.npy").exists() and (remote or (folder / DATA).exists())
  if (
    not is_complete
    or (remote["bytes"] if remote else (folder / DATA).stat().st_size) != header["bytes"]
    or index_fingerprint(folder) != header["index"]
  ):
    return f"{folder} is damaged"

  return ""
