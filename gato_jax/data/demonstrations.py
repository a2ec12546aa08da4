"""Expert episodes that are saved for prompting, since acting has no TensorFlow to read datasets."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.storage import files

# An episode: flat observation columns [n, ...] and actions [n, ...].
Demonstration = tuple[dict[str, np.ndarray], np.ndarray]


def _path(workdir: pathlib.Path, task: str) -> pathlib.Path:
  return pathlib.Path(workdir) / "demonstrations" / f"{task}.npz"


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


def read(workdir: pathlib.Path, task: str) -> list[Demonstration]:
  """Reads a task's demonstrations; the inverse of `write`.

  Raises:
    GatoError: There are none.
  """
  arrays = _read(workdir, task)

  # A demonstration has one key "<i>/action". Keys of observation fields, which may be called
  # "action" too, have one more part.
  count = sum(key.split("/")[1:] == ["action"] for key in arrays)

  demonstrations = []
  for i in range(count):
    prefix = f"{i}/observation/"
    observation = {}
    for key, value in arrays.items():
      if key.startswith(prefix):
        observation[key.removeprefix(prefix)] = value

    demonstrations.append((observation, arrays[f"{i}/action"]))

  return demonstrations


def read_groups(workdir: pathlib.Path, task: str) -> list[int]:
  """Reads the number of the group of each of a task's demonstrations; 0 where there are none."""
  arrays = _read(workdir, task)
  count = sum(key.split("/")[1:] == ["action"] for key in arrays)
  return arrays.get("groups", np.zeros(count, np.int64)).tolist()


def _read(workdir: pathlib.Path, task: str) -> dict[str, np.ndarray]:
  path = _path(workdir, task)
  if not path.exists():
    raise GatoError(
      f"no demonstration in {path}; train writes it, or evaluate with --config.act.prompt=none"
    )

  with np.load(path, allow_pickle=False) as file:
    return {key: file[key] for key in file.files}
