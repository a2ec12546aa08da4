"""Converts recorded values to what a spec allows.

A value that does not fit is refused by name: nothing wraps around and nothing is clipped.
"""

from typing import Any

import numpy as np
from dm_env import specs as dm_specs

from gato_jax.errors import GatoError
from rlds_builders.base import resizing

_LEAVE_OUT = "mend it, or name the other fields in the source's `observation`"


def of_observation(
  value: Any,
  spec: dm_specs.Array,
  where: str,
  value_range: tuple[float, float] | None = None,
  resize: str = "stretch",
) -> np.ndarray | bytes:
  """Converts a recorded value to a text, an image, floats or integers, as its spec says.

  Args:
    value: As it was recorded: an array, a NumPy scalar, or bytes of a text.
    spec: Spec of the field.
    where: Task, episode, step and field, for messages.
    value_range: Values of an image that become black and white; None where they are 0 and 255.
    resize: How an image gets the spec's size (resizing.fit).

  Raises:
    GatoError: The value does not fit.
  """
  if isinstance(spec, dm_specs.StringArray):
    text(value, where)
    return value

  array = np.asarray(value)
  if len(spec.shape) == 3 and spec.dtype == np.uint8:
    array = _in_range(array, where, value_range) if value_range else array
    return resizing.fit(array, spec.shape[:2], resize)
  if spec.dtype == np.float32:
    return floats(array, where)

  # What is left are integers; recorded_builder gives all of them bounds.
  assert isinstance(spec, dm_specs.BoundedArray)
  outside = (array < spec.minimum) | (array > spec.maximum)
  if outside.any():
    low = int(np.min(spec.minimum))
    high = int(np.max(spec.maximum))
    raise GatoError(
      f"{where}: {array[outside].flat[0]} lies outside [{low}, {high}], as integers must; "
      f"{_LEAVE_OUT}"
    )
  return array.astype(spec.dtype)


def text(value: bytes, where: str) -> str:
  """Decodes a text.

  Raises:
    GatoError: It is not UTF-8.
  """
  try:
    return value.decode()
  except UnicodeDecodeError as e:
    raise GatoError(f"{where}: {value[:40]!r} is not UTF-8 text ({e.reason}); {_LEAVE_OUT}") from e


def floats(value: np.ndarray, where: str, hint: str = _LEAVE_OUT) -> np.ndarray:
  """Converts numbers to float32.

  Args:
    value: Numbers of any type.
    where: Task, episode, step and field, for messages.
    hint: What to do about a value that does not fit, for messages.

  Raises:
    GatoError: A number is not finite in float32.
  """
  # A float64 too large for float32 becomes infinite, which is checked below.
  with np.errstate(over="ignore"):
    converted = np.asarray(value, np.float32)

  finite = np.isfinite(converted)
  if not finite.all():
    raise GatoError(f"{where}: {np.asarray(value)[~finite].flat[0]} is no finite float32; {hint}")
  return converted


def _in_range(image: np.ndarray, where: str, value_range: tuple[float, float]) -> np.ndarray:
  """Returns an image as uint8, its value range scaled to 0 to 255."""
  low, high = value_range
  # Negated, so that NaN, which no comparison holds for, counts as outside.
  outside = ~((image >= low) & (image <= high))
  if outside.any():
    raise GatoError(
      f"{where}: {image[outside].flat[0]} lies outside its image_range [{low:g}, {high:g}]; "
      "widen it"
    )
  return np.rint((image.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)
