"""TFRecord files by index, as TFDS reads array_record."""

import bisect
import os
import pathlib
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

# TensorFlow checks the CRC-32 of what it reads; the reader is not part of its exported names.
from tensorflow.python.lib.io import tf_record

from gato_jax.errors import GatoError

# A record: its length, a CRC-32 of the length, the content, a CRC-32 of the content.
_LENGTH = struct.Struct("<Q")
_HEADER_BYTES = 12
_FOOTER_BYTES = 4


class TFRecordSource:
  """Examples of a split of TFRecord files, in their order, as a random access data source."""

  def __init__(
    self,
    builder: tfds.core.DatasetBuilder,
    split: str,
    decoders: Mapping[str, Any] | None = None,
  ):
    """Finds where the records are; none is read.

    Args:
      builder: TFDS builder of the dataset.
      split: Name of the split.
      decoders: TFDS decoders of fields that are not decoded as usual.

    Raises:
      GatoError: A file ends within a record, or holds others than its description says.
    """
    self._features = builder.info.features
    self._decoders = decoders

    instructions = builder.info.splits[split].file_instructions
    paths = [pathlib.Path(instruction.filename) for instruction in instructions]
    self._readers = [tf_record.tf_record_random_reader(os.fspath(path)) for path in paths]
    self._offsets = [_offsets(path) for path in paths]

    for path, offsets, instruction in zip(paths, self._offsets, instructions, strict=True):
      if len(offsets) != instruction.examples_in_shard:
        raise GatoError(f"{path}: {len(offsets)} records, not {instruction.examples_in_shard}")
    self._ends = np.cumsum([len(offsets) for offsets in self._offsets]).tolist()

  def __len__(self) -> int:
    return self._ends[-1] if self._ends else 0

  def __getitem__(self, index: int) -> Any:
    if not 0 <= index < len(self):
      raise IndexError(index)

    file = bisect.bisect_right(self._ends, index)
    first = self._ends[file - 1] if file else 0
    content, _ = self._readers[file].read(self._offsets[file][index - first])

    return self._features.deserialize_example_np(content, decoders=self._decoders)


def _offsets(path: pathlib.Path) -> Sequence[int]:
  """Returns where each record of a file begins."""
  size = path.stat().st_size
  offsets: list[int] = []
  offset = 0

  with path.open("rb") as file:
    while offset < size:
      header = os.pread(file.fileno(), _HEADER_BYTES, offset)
      end = size + 1
      if len(header) == _HEADER_BYTES:
        (length,) = _LENGTH.unpack_from(header)
        end = offset + _HEADER_BYTES + length + _FOOTER_BYTES
      if end > size:
        raise GatoError(f"{path}: ends within record {len(offsets)}")

      offsets.append(offset)
      offset = end

  return offsets
