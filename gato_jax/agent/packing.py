"""A raw observation as flat arrays in token order: checked and copied, nothing is computed before the device."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout, vocabulary
from gato_jax.tokens.vocabulary import Kind

UNUSED = -1  # id at a position of a text field that the text does not reach
LINE = vocabulary.PATCH_SIDE * 3  # bytes of one patch's row of pixels


@dataclasses.dataclass(frozen=True, eq=False)
class Packed:
  """One observation of one task.

  Attributes:
    task: "domain.task".
    values: float32 [n], raw values at the continuous positions, 0 elsewhere; n: the observation's tokens.
    ids: int32 [n], token ids at discrete and text positions, UNUSED where a text is shorter, 0 elsewhere.
    lines: uint8 [16 P, 48], the images' pixels as they lie in memory: 16 neighbours of a row at a time.
  """

  task: str
  values: np.ndarray
  ids: np.ndarray
  lines: np.ndarray


def pack(task_layout: layout.TokenLayout, observation: Mapping[str, Any]) -> Packed:
  """Checks a flat observation against its spec by name and lays it out.

  Raises:
    GatoError: a missing or unknown field, a wrong shape or dtype, NaN or infinity, an id outside [0, 1024), a text
      that is too long.
  """
  name = task_layout.spec.name
  fields = task_layout.observation
  if observation.keys() != task_layout.spec.observation.keys():
    _refuse_fields(name, set(task_layout.spec.observation), set(observation))
  values = np.zeros(task_layout.observation_length, np.float32)
  ids = np.zeros(task_layout.observation_length, np.int32)
  lines = []
  for field in fields:
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
      raise GatoError(f"{where} has shape {list(value.shape)}, the spec says {list(field.spec.shape)}")
    if field.kind == Kind.PATCH:
      _check_dtype(where, value, value.dtype == np.uint8, "uint8")
      pixels = np.repeat(value, 3, axis=-1) if value.shape[-1] == 1 else value
      lines.append(np.ascontiguousarray(pixels).reshape(-1, LINE))
    elif field.kind == Kind.DISCRETE:
      _check_dtype(where, value, value.dtype.kind in "iu", "integers")
      if value.size and not (0 <= value.min() and value.max() < vocabulary.DISCRETE_SIZE):
        raise GatoError(f"{where}: discrete values must lie in [0, 1024), got {value.min()} to {value.max()}")
      ids[field.slice] = value.ravel() + vocabulary.DISCRETE_OFFSET
    else:
      _check_dtype(where, value, value.dtype.kind in "fiu", "numbers")
      with np.errstate(over="ignore"):  # becomes infinite, which is refused below
        values[field.slice] = value.ravel()
      if not np.isfinite(values[field.slice]).all():
        codec.check_finite(values[field.slice].reshape(value.shape), where)
  if len(lines) != 1:
    lines = [np.concatenate([np.zeros([0, LINE], np.uint8), *lines])]
  return Packed(name, values, ids, lines[0])


def lines_of_patches(task_layout: layout.TokenLayout) -> np.ndarray:
  """int32 [P, 16]: which lines of `Packed.lines` make up each patch, in token order."""
  tables, first = [np.zeros([0, vocabulary.PATCH_SIDE], np.int32)], 0
  for field in task_layout.observation:
    if field.kind == Kind.PATCH:
      rows, columns = (side // vocabulary.PATCH_SIDE for side in field.spec.shape[:2])
      place = first + np.arange(rows * vocabulary.PATCH_SIDE * columns, dtype=np.int32)
      tables.append(place.reshape(rows, vocabulary.PATCH_SIDE, columns).swapaxes(1, 2).reshape(-1, 16))
      first += place.size
  return np.concatenate(tables)


def _refuse_fields(name: str, expected: set[str], given: set[str]) -> None:
  for key in sorted(expected - given):
    raise GatoError(f"{name}: the observation has no field {key!r}; it has {sorted(given)}")
  for key in sorted(given - expected):
    raise GatoError(f"{name}: the observation has a field {key!r}, the spec only {sorted(expected)}")


def _check_dtype(where: str, value: np.ndarray, right: bool, expected: str) -> None:
  if not right:
    raise GatoError(f"{where} has dtype {value.dtype}, the spec wants {expected}")
