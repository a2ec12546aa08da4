"""Packing: a raw observation as flat arrays in token order, checked and copied.

Everything else (bins, patches) is computed on the device, by agent/step.py.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout, vocabulary
from gato_jax.tokens.vocabulary import Kind

# Id at a position of a text field that the text does not reach.
UNUSED = -1

# Bytes of a line: one row of a patch, 16 pixels of 3 channels.
LINE = vocabulary.PATCH_SIDE * 3


@dataclasses.dataclass(frozen=True, eq=False)
class Packed:
  """One observation of one task, of n observation tokens and P patches.

  Attributes:
    task: Name of the task, "domain.task".
    values: Float32 [n], values at the continuous positions, scaled where the spec says so, 0
      elsewhere.
    ids: Int32 [n], token ids at discrete and text positions, UNUSED where a text is shorter than
      its field, 0 elsewhere.
    lines: Uint8 [16 P, 48], pixels of the images as they lie in memory: 16 neighbours of an image's
      row a line.
  """

  task: str
  values: np.ndarray
  ids: np.ndarray
  lines: np.ndarray


def pack(task_layout: layout.TokenLayout, observation: Mapping[str, Any]) -> Packed:
  """Checks a flat observation against its spec and packs it.

  Args:
    task_layout: Layout of the task.
    observation: Flat key -> value.

  Raises:
    GatoError: A field is missing or unknown, has a wrong shape or dtype, NaN or infinity, an id
      outside [0, 1024), or a text that is too long.
  """
  name = task_layout.spec.name
  if observation.keys() != task_layout.spec.observation.keys():
    _refuse_fields(name, expected=set(task_layout.spec.observation), given=set(observation))

  values = np.zeros(task_layout.observation_length, np.float32)
  ids = np.zeros(task_layout.observation_length, np.int32)
  images = []

  for field in task_layout.observation:
    value = observation[field.key]
    where = f"{name}: {field.key!r}"

    if field.kind == Kind.TEXT:
      if np.ndim(value) or not isinstance(np.asarray(value).item(), str | bytes):
        raise GatoError(f"{where} is not one text: {value!r}")

      tokens = task_layout.text_ids(field, value)
      ids[field.slice] = UNUSED
      ids[field.start : field.start + len(tokens)] = tokens
      continue

    value = np.asarray(value)
    if value.shape != field.spec.shape:
      raise GatoError(
        f"{where} has shape {list(value.shape)}, the spec says {list(field.spec.shape)}"
      )

    if field.kind == Kind.PATCH:
      images.append(_lines_of_image(value, where))
    elif field.kind == Kind.DISCRETE:
      ids[field.slice] = _discrete_ids(value, where)
    else:
      values[field.slice] = field.binned(_continuous_values(value, where))

  # A single image, the usual case, is not copied.
  if len(images) == 1:
    lines = images[0]
  else:
    lines = np.concatenate([np.zeros([0, LINE], np.uint8), *images])

  return Packed(name, values, ids=ids, lines=lines)


def _lines_of_image(image: np.ndarray, where: str) -> np.ndarray:
  """Returns an image's pixels as lines, uint8 [16 P, 48]; `where` names the field in errors."""
  _check_dtype(where, image, is_right=image.dtype == np.uint8, expected="uint8")
  if image.shape[-1] == 1:
    image = np.repeat(image, 3, axis=-1)

  return np.ascontiguousarray(image).reshape(-1, LINE)


def _discrete_ids(value: np.ndarray, where: str) -> np.ndarray:
  """Returns the token ids of discrete values; `where` names the field in errors."""
  _check_dtype(where, value, is_right=value.dtype.kind in "iu", expected="integers")
  if value.size and not (0 <= value.min() and value.max() < vocabulary.DISCRETE_SIZE):
    raise GatoError(
      f"{where}: discrete values must lie in [0, 1024), got {value.min()} to {value.max()}"
    )
  return value.ravel() + vocabulary.DISCRETE_OFFSET


def _continuous_values(value: np.ndarray, where: str) -> np.ndarray:
  """Returns continuous values as float32; `where` names the field in errors."""
  _check_dtype(where, value, is_right=value.dtype.kind in "fiu", expected="numbers")

  # A float64 beyond float32 becomes infinite, which is refused below.
  with np.errstate(over="ignore"):
    values = value.astype(np.float32)
  if not np.isfinite(values).all():
    codec.check_finite(values, where)

  return values.ravel()


def lines_of_patches(task_layout: layout.TokenLayout) -> np.ndarray:
  """Returns which lines of `Packed.lines` make up each patch, int32 [P, 16], in token order."""
  side = vocabulary.PATCH_SIDE
  tables = [np.zeros([0, side], np.int32)]
  first_line = 0

  for field in task_layout.observation:
    if field.kind != Kind.PATCH:
      continue

    # An image is patch rows x pixel rows of a patch x patch columns, each a line. Swapping the last
    # two axes brings the 16 lines of a patch together.
    height, width = field.spec.shape[:2]
    rows, columns = height // side, width // side
    count = rows * side * columns
    lines = first_line + np.arange(count, dtype=np.int32)
    tables.append(lines.reshape(rows, side, columns).swapaxes(1, 2).reshape(-1, side))

    first_line += count

  return np.concatenate(tables)


def _refuse_fields(name: str, expected: set[str], given: set[str]) -> None:
  """Raises GatoError for a missing field, else for an unknown one."""
  for key in sorted(expected - given):
    raise GatoError(f"{name}: the observation has no field {key!r}; it has {sorted(given)}")

  for key in sorted(given - expected):
    raise GatoError(
      f"{name}: the observation has a field {key!r}, the spec only {sorted(expected)}"
    )


def _check_dtype(where: str, value: np.ndarray, is_right: bool, expected: str) -> None:
  """Raises GatoError where a field's dtype is wrong."""
  if not is_right:
    raise GatoError(f"{where} has dtype {value.dtype}, the spec wants {expected}")
