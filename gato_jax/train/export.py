"""A trained network as a folder to hand out: parameters only, self-describing, checked when read.

FOLDER/
  model.json        sizes, specs, config, step, and the SHA-256 of the other files
  weights.npz       parameters, matrices as int8 with a scale a row, or as bfloat16
  tokenizer.model   the SentencePiece model
  demonstrations/   episodes for prompts (data/demonstrations.py)

Wherever a run's workdir is read, such a folder will do: to act, to serve, to begin fine-tuning.
"""

import hashlib
import io
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from gato_jax.data import demonstrations
from gato_jax.errors import GatoError, check_name
from gato_jax.storage import files, paths
from gato_jax.task import TaskSpec
from gato_jax.train import checkpoint

PRECISIONS = ("int8", "bfloat16", "float32")
VERSION = 1

MODEL = "model.json"
WEIGHTS = "weights.npz"
TOKENIZER = "tokenizer.model"

# What a checkpoint's meta holds for acting; the rest is for going on with the training.
_KEPT = ("model", "specs", "config", "config_sha256", "episodes", "step")

# Ends of the names of arrays that stand for a parameter: rows of int8 and their scales, or the bits
# of bfloat16, which NumPy's format does not know.
_ROWS, _SCALES, _BITS = "#rows", "#scales", "#bfloat16"


def write(
  folder: pathlib.Path,
  params: Any,
  meta: Mapping[str, Any],
  precision: str = "int8",
  episodes: Mapping[str, Sequence[demonstrations.Demonstration]] | None = None,
) -> dict[str, int]:
  """Writes a folder; what was exported there before is replaced.

  Args:
    folder: Created where it does not exist.
    params: Parameters of the network, nested.
    meta: Of a checkpoint, as `checkpoint.load_for_acting` returns it.
    precision: Of matrices: "int8" (with a float32 scale for each row), "bfloat16" or "float32".
      Vectors, such as norms and biases, are always float32.
    episodes: "domain.task" -> demonstrations.

  Returns:
    Bytes of each part of the folder.

  Raises:
    GatoError: The folder is that of a training run.
  """
  check_name(precision, PRECISIONS, "precision")
  folder = paths.path(folder)
  if (folder / "checkpoints").exists():
    raise GatoError(f"{folder} is the folder of a training run; export into another one")

  arrays: dict[str, np.ndarray] = {}
  for name, value in traverse_util.flatten_dict(params, sep="/").items():
    arrays |= _packed(name, np.asarray(value, np.float32), precision)
  archive = io.BytesIO()
  np.savez_compressed(archive, **arrays)  # type: ignore[arg-type]  # the stub's allow_pickle

  # Without this file the folder is none, so a writer that is killed leaves nothing to be read.
  (folder / MODEL).unlink(missing_ok=True)
  for old in folder.glob("demonstrations/*.npz"):
    old.unlink()

  files.write(folder / WEIGHTS, archive.getvalue())
  files.write(folder / TOKENIZER, meta["tokenizer"])
  for task, demonstrated in (episodes or {}).items():
    demonstrations.write(folder, task, demonstrated)

  written = [folder / WEIGHTS, folder / TOKENIZER, *sorted(folder.glob("demonstrations/*.npz"))]
  description = {name: meta[name] for name in _KEPT if name in meta}
  # Older checkpoints wrote out every bound.
  description["specs"] = {
    name: TaskSpec.from_json(spec).to_json() for name, spec in meta["specs"].items()
  }
  description |= {
    "version": VERSION,
    "precision": precision,
    "sha256": {str(path.relative_to(folder)): _sha256(path) for path in written},
  }
  files.write_json(folder / MODEL, description, indent=None)

  sizes = {path.name: len(path.read_bytes()) for path in (*written[:2], folder / MODEL)}
  return sizes | {"demonstrations": sum(len(path.read_bytes()) for path in written[2:])}


def is_exported(folder: pathlib.Path) -> bool:
  """Returns True for a folder that `write` wrote, False for a run's workdir."""
  return (paths.path(folder) / MODEL).exists()


def load(workdir: pathlib.Path, step: int | None = None) -> tuple[Any, dict[str, Any], int]:
  """Loads the parameters of an exported folder, or of a run's checkpoint.

  Args:
    workdir: The folder or the run's directory.
    step: Training step of the checkpoint; the newest readable one by default.

  Returns:
    (parameters, meta, step), as `checkpoint.load_for_acting`.

  Raises:
    GatoError: There is no such step, or it cannot be read.
  """
  workdir = paths.path(workdir)
  if not is_exported(workdir):
    return checkpoint.load_for_acting(workdir / "checkpoints", step)

  params, meta = _read(workdir)
  if step not in (None, meta["step"]):
    raise GatoError(
      f"no step {step} in {workdir}: the weights there are those of step {meta['step']}; leave the "
      "step out"
    )
  return params, meta, meta["step"]


def _packed(name: str, value: np.ndarray, precision: str) -> dict[str, np.ndarray]:
  """Returns the arrays that stand for a parameter."""
  if value.ndim < 2 or precision == "float32":
    return {name: value}

  if precision == "bfloat16":
    return {name + _BITS: value.astype(jnp.bfloat16).view(np.uint16)}

  # The largest value of a row becomes 127. A row of zeros may have any scale.
  largest = np.abs(value).max(axis=-1, keepdims=True)
  scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
  return {name + _ROWS: np.rint(value / scale).astype(np.int8), name + _SCALES: scale}


def _unpacked(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the float32 parameters by name; the inverse of `_packed`."""
  params = {}
  for key, value in arrays.items():
    if key.endswith(_ROWS):
      name = key.removesuffix(_ROWS)
      params[name] = value * arrays[name + _SCALES]
    elif key.endswith(_BITS):
      params[key.removesuffix(_BITS)] = value.view(jnp.bfloat16).astype(np.float32)
    elif not key.endswith(_SCALES):
      params[key] = value

  return params


def _description(folder: pathlib.Path) -> dict[str, Any]:
  description = files.read_json(folder / MODEL, remedy="get the folder again")
  if description.get("version") != VERSION:
    raise GatoError(
      f"{folder / MODEL}: format {description.get('version')}, this code reads {VERSION}; get a "
      "folder and code of the same release"
    )
  return description


def _read(folder: pathlib.Path) -> tuple[Any, dict[str, Any]]:
  """Reads and checks a folder; returns nested parameters and the meta."""
  description = _description(folder)

  for name, expected in description["sha256"].items():
    path = folder / name
    if not path.exists():
      raise GatoError(f"{path}: missing; get the folder again")
    if _sha256(path) != expected:
      raise GatoError(
        f"{path}: not the file that was exported (its SHA-256 is another); get the folder again"
      )

  try:
    weights = io.BytesIO((folder / WEIGHTS).read_bytes())
    with np.load(weights, allow_pickle=False) as archive:
      arrays = {key: archive[key] for key in archive.files}
  except (ValueError, zipfile.BadZipFile) as e:
    raise GatoError(f"{folder / WEIGHTS}: cannot be read ({e}); get the folder again") from e

  params = traverse_util.unflatten_dict(_unpacked(arrays), sep="/")
  tokenizer = (folder / TOKENIZER).read_bytes()

  return params, description | {"tokenizer": tokenizer}


def _sha256(path: pathlib.Path) -> str:
  return hashlib.sha256(path.read_bytes()).hexdigest()
