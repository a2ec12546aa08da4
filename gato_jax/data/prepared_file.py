"""Random reads of a prepared dataset's files, on this machine or in a bucket."""

import json
import os
import pathlib
from typing import Any

import numpy as np
import zstandard

from gato_jax.data import prepared_format
from gato_jax.data.prepared_format import FOLDER
from gato_jax.errors import GatoError
from gato_jax.storage import piece_cache
from gato_jax.task import TaskSpec


class PreparedFile:
  """Index and random reads of data.bin, for episodes and documents alike.

  Attributes:
    spec: The task's spec.
    directory: Directory of the dataset.
    index: EPISODE or DOCUMENT [n], see prepared_format.py.
    header: Content of prepared.json.
  """

  def __init__(self, directory: pathlib.Path, spec: TaskSpec):
    self.spec = spec
    self.directory = directory
    self.index = np.load(directory / FOLDER / "index.npy")
    self.header: dict[str, Any] = json.loads((directory / FOLDER / "prepared.json").read_text())

    self._remote = None
    remote = prepared_format.remote_data(directory / FOLDER)
    if remote is None:
      self._file = (directory / FOLDER / prepared_format.DATA).open("rb", buffering=0)
    else:
      self._remote = piece_cache.CachedObject(
        remote["address"], remote["bytes"], directory / FOLDER / "pieces"
      )

  def __len__(self) -> int:
    return len(self.index)

  def read_bytes(self, offset: int, size: int) -> bytes:
    """Reads a part of the file; threads may share it.

    Raises:
      GatoError: The file is truncated.
    """
    if self._remote is not None:
      content = self._remote.read(offset, size)
    else:
      # pread has no file position, so threads may share the file.
      content = os.pread(self._file.fileno(), size, offset)
    if len(content) != size:
      raise self.damaged()

    return content

  def decompress(
    self, decompressor: zstandard.ZstdDecompressor, frame: bytes | memoryview
  ) -> bytes:
    """Decompresses a frame; GatoError where it is damaged."""
    try:
      return decompressor.decompress(frame)
    except zstandard.ZstdError as e:
      raise self.damaged() from e

  def damaged(self) -> GatoError:
    """Returns the error of a file that does not hold what was written."""
    folder = self.directory / FOLDER
    return GatoError(f"{folder} is damaged; delete the folder and run python -m experiments.build")
