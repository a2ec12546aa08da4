"""Recorded values -> what a spec allows; what does not fit is refused by name, nothing wraps and nothing is clipped."""

import numpy as np
from dm_env import specs as dm_specs
from PIL import Image

from gato_jax.errors import GatoError

_LEAVE_OUT = "mend it, or name the other fields in the source's `observation`"


def of_observation(
  value: np.ndarray | bytes, spec: dm_specs.Array, where: str, value_range: tuple[float, float] | None = None
) -> np.ndarray | bytes:
  """Returns a value as its spec says: a text, an image, floats or integers.

  Args:
    value: as it was recorded.
    spec: of the field.
    where: task, episode, step and field, for messages.
    value_range: of an image, what is black and what is white, where it is not 0 and 255.

  Raises:
    GatoError: the value does not fit.
  """
  if isinstance(spec, dm_specs.StringArray):
    text(value, where)
    return value

  value = np.asarray(value)
  if len(spec.shape) == 3 and spec.dtype == np.uint8:
    return _image(value, spec.shape, where, value_range)
  if spec.dtype == np.float32:
    return floats(value, where)

  outside = (value < spec.minimum) | (value > spec.maximum)
  if outside.any():
    low, high = int(np.min(spec.minimum)), int(np.max(spec.maximum))
    raise GatoError(f"{where}: {value[outside].flat[0]} lies outside [{low}, {high}], as integers must; {_LEAVE_OUT}")
  return value.astype(spec.dtype)


def text(value: bytes, where: str) -> str:
  """Decodes a text; GatoError where it is not UTF-8."""
  try:
    return value.decode()
  except UnicodeDecodeError as e:
    raise GatoError(f"{where}: {value[:40]!r} is not UTF-8 text ({e.reason}); {_LEAVE_OUT}") from e


def floats(value: np.ndarray, where: str, hint: str = _LEAVE_OUT) -> np.ndarray:
  """Converts to float32; GatoError, with what to do, where a number is not finite there."""
  with np.errstate(over="ignore"):
    converted = np.asarray(value, np.float32)
  finite = np.isfinite(converted)
  if not finite.all():
    raise GatoError(f"{where}: {np.asarray(value)[~finite].flat[0]} is no finite float32; {hint}")
  return converted


def _image(
  value: np.ndarray, shape: tuple[int, ...], where: str, value_range: tuple[float, float] | None
) -> np.ndarray:
  """Scales the range to 0 to 255, makes grey RGB, and resizes."""
  if value_range:
    low, high = value_range
    outside = ~((value >= low) & (value <= high))  # NaN too
    if outside.any():
      raise GatoError(f"{where}: {value[outside].flat[0]} lies outside its image_range [{low:g}, {high:g}]; widen it")
    value = np.rint((value.astype(np.float64) - low) / (high - low) * 255).astype(np.uint8)
  if value.shape == shape:
    return value

  height, width = shape[:2]
  grey = value.ndim == 2 or value.shape[-1] == 1
  image = Image.fromarray(value.reshape(value.shape[:2]) if grey else value).convert("RGB")
  return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
