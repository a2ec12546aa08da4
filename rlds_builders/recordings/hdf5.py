"""HDF5 files of robomimic (Mandlekar et al. 2021), D4RL (Fu et al. 2020) and Minari.

robomimic   data/demo_0/{obs/KEY, actions, rewards, dones}, mask/SPLIT
D4RL        observations, actions, rewards, terminals, timeouts: all episodes in one row
Minari      episode_0/{observations, actions, rewards, terminations}, in data/main_data.hdf5
"""

import json
import pathlib
from collections.abc import Collection, Iterator
from typing import Any

import h5py
import numpy as np

from gato_jax.errors import GatoError
from rlds_builders.recordings import recording
from rlds_builders.recordings.recording import Field

# Names of the formats -> ours.
_NAMES = {
  "actions": recording.ACTION,
  "rewards": recording.REWARD,
  "dones": recording.TERMINAL,
  "terminals": recording.TERMINAL,
  "terminations": recording.TERMINAL,
}
_OBSERVATIONS = ("obs", "observations")


def open_file(path: pathlib.Path) -> "GroupEpisodes | FlatEpisodes":
  """Returns the episodes of a file, whichever of the formats it has.

  Raises:
    GatoError: It has none of them, or cannot be read.
  """
  try:
    file = h5py.File(path, "r")
  except OSError as e:
    raise GatoError(f"{path}: no HDF5 that can be read ({e}); get it again") from e

  if isinstance(file.get("data"), h5py.Group):
    return GroupEpisodes(path, file["data"], file.get("mask"))
  if isinstance(file.get("actions"), h5py.Dataset):
    return FlatEpisodes(path, file)
  if any(name.startswith("episode_") for name in file):
    return GroupEpisodes(path, file, None)

  raise GatoError(
    f"{path}: neither robomimic's groups data/demo_0, nor D4RL's columns, nor Minari's episode_0; "
    f"it has {', '.join(list(file)[:8])}"
  )


class GroupEpisodes:
  """Episodes that are groups of a file, of robomimic and Minari (recording.Recording)."""

  def __init__(self, path: pathlib.Path, groups: h5py.Group, mask: h5py.Group | None):
    """Reads the fields of the first episode.

    Args:
      path: Of the file, for messages.
      groups: The group whose members are episodes.
      mask: Names of the episodes of each split; None: all are "train".

    Raises:
      GatoError: There is no episode.
    """
    self._path = path
    self._groups = groups
    names = sorted(groups, key=lambda name: int(name.rpartition("_")[2]))
    if not names:
      raise GatoError(f"{path}: no episodes")

    self._names = {"train": names}
    if mask is not None:
      self._names = {
        split: [name.decode() for name in members[()]] for split, members in mask.items()
      }
    self.splits = {split: len(names) for split, names in self._names.items()}

    first = groups[names[0]]
    self.fields = {
      name: Field.of_column(column.shape, column.dtype) for name, column in _columns(first).items()
    }
    if _instruction(first):
      self.fields[recording.INSTRUCTION] = recording.TEXT

  def episodes(self, split: str, used: Collection[str]) -> Iterator[dict[str, np.ndarray]]:
    for name in self._names[split]:
      group = self._groups[name]
      found = _columns(group)
      columns = {path: found[path][()] for path in used if path in found}

      # Robomimic keeps what followed the last action apart.
      after = group.get("next_obs", {})
      for path in [path for path in columns if path.startswith(f"{recording.OBSERVATION}/")]:
        key = path.partition("/")[2]
        if key in after:
          columns[path] = np.concatenate([columns[path], after[key][-1:]])

      if recording.INSTRUCTION in used:
        length = max(map(len, columns.values()))
        columns[recording.INSTRUCTION] = np.full(length, _instruction(group).encode(), object)
      yield columns


class FlatEpisodes:
  """Episodes one behind the other in the columns of a file, as D4RL has them (Recording)."""

  def __init__(self, path: pathlib.Path, file: h5py.File):
    """Finds where episodes end; columns of another length than the actions are none of steps."""
    self._columns = _columns(file)
    length = len(file["actions"])
    self._columns = {
      name: column for name, column in self._columns.items() if len(column) == length
    }

    ends = np.zeros(length, bool)
    for name in ("terminals", "timeouts"):
      if name in file:
        ends |= np.asarray(file[name][()], bool).reshape(length)
    if length:
      ends[-1] = True

    stops = np.flatnonzero(ends) + 1
    self._ranges = list(zip([0, *stops[:-1]], stops, strict=True))
    self.splits = {"train": len(self._ranges)}
    self.fields = {
      name: Field.of_column(column.shape, column.dtype) for name, column in self._columns.items()
    }

  def episodes(self, split: str, used: Collection[str]) -> Iterator[dict[str, np.ndarray]]:
    del split
    for start, stop in self._ranges:
      yield {name: self._columns[name][start:stop] for name in used if name in self._columns}


def _columns(group: h5py.Group) -> dict[str, h5py.Dataset]:
  """Returns path -> column of an episode's group, or of a file of all episodes."""
  columns = {}
  for name, item in group.items():
    if name in _OBSERVATIONS:
      name = recording.OBSERVATION
    path = _NAMES.get(name, name)

    if isinstance(item, h5py.Dataset):
      # A single array of observations needs a key of its own.
      is_whole = path == recording.OBSERVATION
      columns[f"{path}/state" if is_whole else path] = item
    else:
      for key, column in _leaves(item):
        columns[f"{path}/{key}"] = column

  return {path: column for path, column in columns.items() if column.ndim}


def _leaves(group: h5py.Group) -> Iterator[tuple[str, h5py.Dataset]]:
  for name, item in group.items():
    if isinstance(item, h5py.Dataset):
      yield name, item
    else:
      for key, column in _leaves(item):
        yield f"{name}/{key}", column


def _instruction(group: h5py.Group) -> str:
  """Returns the task in words that newer files of robomimic have, "" where there is none."""
  meta: Any = group.attrs.get("ep_meta", "{}")
  return str(json.loads(meta).get("lang", ""))
