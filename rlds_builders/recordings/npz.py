"""A folder of episodes, each an .npz file of columns [T, ...].

Arrays are named by the paths of recording.py ("observation/state", "action"); a text or a number
that is no array is the same in every step. Subfolders are splits; files beside each other are the
split "train".
"""

import pathlib
import zipfile
from collections.abc import Collection, Iterator

import numpy as np

from gato_jax.errors import GatoError
from rlds_builders.recordings import recording
from rlds_builders.recordings.recording import Field


class NpzEpisodes:
  """Episodes of a folder (recording.Recording).

  Raises:
    GatoError: There are none, or the first cannot be read.
  """

  def __init__(self, folder: pathlib.Path):
    self._files = {"train": sorted(folder.glob("*.npz"))}
    if not self._files["train"]:
      subfolders = sorted(path for path in folder.iterdir() if path.is_dir())
      self._files = {path.name: sorted(path.glob("*.npz")) for path in subfolders}
      self._files = {name: paths for name, paths in self._files.items() if paths}
    if not self._files:
      raise GatoError(f"{folder}: no .npz files, neither here nor one folder below")

    self.splits = {name: len(paths) for name, paths in self._files.items()}
    first = next(iter(self._files.values()))[0]
    self.fields = {name: _field(column) for name, column in _read(first, None).items()}

  def episodes(self, split: str, used: Collection[str]) -> Iterator[dict[str, np.ndarray]]:
    for path in self._files[split]:
      columns = _read(path, used)
      length = max((len(c) for c in columns.values() if c.ndim), default=0)

      for name, column in columns.items():
        if column.dtype.kind in "SU":
          texts = [str(text).encode() for text in np.ravel(column)]
          column = np.array(texts, object).reshape(column.shape)
        # What is given once is the same in every step.
        columns[name] = column if column.ndim else np.full(length, column[()])
      yield columns


def _field(column: np.ndarray) -> Field:
  if not column.ndim and column.dtype.kind in "OSU":
    return recording.TEXT
  return Field.of_column(column.shape, column.dtype)


def _read(path: pathlib.Path, used: Collection[str] | None) -> dict[str, np.ndarray]:
  """Returns the arrays of a file, those of `used` or all."""
  try:
    with np.load(path, allow_pickle=False) as archive:
      wanted = archive.files if used is None else [name for name in used if name in archive.files]
      return {name: archive[name] for name in wanted}
  except (OSError, ValueError, zipfile.BadZipFile) as e:
    raise GatoError(f"{path}: cannot be read ({e}); mend it or take it away") from e
