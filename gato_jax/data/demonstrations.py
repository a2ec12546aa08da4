"""Expert episodes that are saved for prompting, since acting has no TensorFlow to read datasets."""

import io
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.storage import files, paths

# An episode: flat observation columns [n, ...] and actions [n, ...].
Demonstration = tuple[dict[str, np.ndarray], np.ndarray]


def _path(workdir: pathlib.Path, task: str) -> pathlib.Path:
  return paths.path(workdir) / "demonstrations" / f"{task}.npz"


def write(
  workdir: pathlib.Path,
  task: str,
  demonstrations: Sequence[Demonstration],
  groups: Sequence[int] = (),
) -> None:
  """Saves a task's demonstrations beside its checkpoints.

  Args:
    workdir: Directory of the run.
    task: "domain.task".
    demonstrations: Episodes.
    groups: Number of each one's group (prepared_format.group_id); () for no groups.
  """
  arrays: dict[str, np.ndarray] = {}
  for i, (observation, action) in enumerate(demonstrations):
    arrays[f"{i}/action"] = action

    for key, value in observation.items():
      # Texts are objects: bytes from TFDS, str from raw logs. As NumPy strings they need no pickle.
      if value.dtype == object:
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in value]
        value = np.array(texts)
      arrays[f"{i}/observation/{key}"] = value

  if len(groups):
    arrays["groups"] = np.array(groups, np.int64)

  archive = io.BytesIO()
  np.savez_compressed(archive, **arrays)  # type: ignore[arg-type]  # the stub's allow_pickle
  files.write(_path(workdir, task), archive.getvalue())


def exist(workdir: pathlib.Path, task: str) -> bool:
  """Returns whether demonstrations of a task were saved."""
  return _path(workdir, task).exists()


def read(workdir: pathlib.Path, task: str) -> list[Demonstration]:
  """Reads a task's demonstrations; the inverse of `write`.

  Raises:
    GatoError: There are none.
  """
  with _open(workdir, task) as file:
    arrays = {key: file[key] for key in file.files}

  demonstrations = []
  for i in range(_count(arrays)):
    prefix = f"{i}/observation/"
    observation = {}
    for key, value in arrays.items():
      if key.startswith(prefix):
        observation[key.removeprefix(prefix)] = value

    demonstrations.append((observation, arrays[f"{i}/action"]))

  return demonstrations


def read_groups(workdir: pathlib.Path, task: str) -> list[int]:
  """Reads the number of the group of each of a task's demonstrations; 0 where there are none.

  Raises:
    GatoError: There are no demonstrations.
  """
  # NumPy reads an array when it is asked for: the episodes themselves are not read again.
  with _open(workdir, task) as file:
    if "groups" in file.files:
      return file["groups"].tolist()
    return [0] * _count(file.files)


def _open(workdir: pathlib.Path, task: str) -> Any:
  path = _path(workdir, task)
  if not path.exists():
    raise GatoError(
      f"no demonstration in {path}; train writes it, or evaluate with --config.act.prompt=none"
    )
  return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)


def _count(names: Iterable[str]) -> int:
  """Returns how many demonstrations the arrays of these names are of.

  Each has one key "<i>/action". Keys of observation fields, which may be called "action" too, have
  one more part.
  """
  return sum(name.split("/")[1:] == ["action"] for name in names)
