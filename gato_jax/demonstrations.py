"""Whole expert episodes put aside for prompting: acting has no TensorFlow to read datasets with."""

import io
import pathlib
from collections.abc import Sequence

import numpy as np

from gato_jax import files
from gato_jax.errors import GatoError

# An episode: flat observation columns [n, ...] and actions [n, ...].
Demonstration = tuple[dict[str, np.ndarray], np.ndarray]


def _path(workdir: pathlib.Path, task: str) -> pathlib.Path:
  return pathlib.Path(workdir) / "demonstrations" / f"{task}.npz"


def write(workdir: pathlib.Path, task: str, demonstrations: Sequence[Demonstration]) -> None:
  """Saves a task's demonstrations beside its checkpoints; strings as NumPy strings, nothing is pickled."""
  arrays = {}
  for i, (observation, action) in enumerate(demonstrations):
    arrays[f"{i}/action"] = action
    for key, value in observation.items():
      if value.dtype == object:  # texts: bytes from TFDS, str from raw logs
        value = np.array([text.decode() if isinstance(text, bytes) else str(text) for text in value])
      arrays[f"{i}/observation/{key}"] = value
  archive = io.BytesIO()
  np.savez_compressed(archive, **arrays)
  files.write(_path(workdir, task), archive.getvalue())


def read(workdir: pathlib.Path, task: str) -> list[Demonstration]:
  """The inverse of `write`; GatoError where there are none."""
  path = _path(workdir, task)
  if not path.exists():
    raise GatoError(f"no demonstration in {path}; train writes it, or evaluate with --config.act.prompt=none")
  with np.load(path, allow_pickle=False) as file:
    arrays = {key: file[key] for key in file.files}
  demonstrations = []
  for i in range(sum(key.endswith("/action") for key in arrays)):
    prefix = f"{i}/observation/"
    observation = {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
    demonstrations.append((observation, arrays[f"{i}/action"]))
  return demonstrations
