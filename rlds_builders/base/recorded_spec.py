"""Specs of recorded episodes, as they follow from TFDS' features and a domain's Source."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from dm_env import specs as dm_specs

from gato_jax.domain import RecordedDomain, Source
from gato_jax.errors import GatoError, check_name
from gato_jax.task import TaskSpec, flatten
from rlds_builders.base import recorded_source, resizing

# Tokens of discrete values: integers from 0 to 1023 (Reed et al. 2022, section 2.1).
_DISCRETE_VALUES = 1024


def task_spec(domain: RecordedDomain, task: str, builder: Any) -> TaskSpec:
  """Returns the spec that follows from the recorded features and the declaration.

  Args:
    domain: Domain with a source of the task.
    task: Short name of the task.
    builder: What `recorded_source.load` opened.

  Raises:
    GatoError: Features and declaration do not fit.
  """
  source = domain.sources[task]
  where = f"{domain.name}.{task} ({source.dataset})"

  fields = step_fields(builder, where)
  paths = observation_paths(source, fields)
  for path in (*paths.values(), *source.action):
    check_name(path, fields, f"field of a step in {where}")
  for name in ("image_range", "observation_bounds"):
    for key in getattr(source, name):
      check_name(key, paths, f"key of {name} in {where}")

  observation = {}
  for key, path in paths.items():
    observation[key] = _field_spec(fields[path], source, key=key, where=f"{where}, {path}")

  return TaskSpec(
    name=f"{domain.name}.{task}",
    observation=observation,
    action=_action_spec(source, fields, where),
    max_text_tokens=domain.text_tokens(task),
    scaled=tuple(sorted(source.observation_bounds)),
  )


def step_fields(builder: Any, where: str) -> dict[str, Any]:
  """Returns TFDS' features of a step's fields by path, e.g. "observation/image"."""
  features = builder.info.features
  if "steps" not in features or not isinstance(features["steps"], tfds.features.Dataset):
    raise GatoError(f"{where}: no RLDS, which has steps; its fields are {', '.join(features)}")
  return flatten(recorded_source.nested_features(features["steps"].feature))


def observation_paths(source: Source, fields: Mapping[str, Any]) -> Mapping[str, str]:
  """Returns our observation keys and their paths: those declared, or else all there are."""
  if source.observation:
    return source.observation

  prefix = "observation/"
  return {path.removeprefix(prefix): path for path in fields if path.startswith(prefix)}


def _action_spec(
  source: Source, fields: Mapping[str, Any], where: str
) -> dm_specs.DiscreteArray | dm_specs.BoundedArray:
  """Returns the spec of the action's fields, one after the other in one vector."""
  # The number of values of all fields of the recorded action together.
  size = 0
  for path in source.action:
    dtype = np.dtype(fields[path].np_dtype)
    if dtype.kind not in "fiub":
      raise GatoError(f"{where}: the action {path} must be numbers, it is {dtype}")
    size += int(np.prod(fields[path].shape, dtype=int))

  if source.choices:
    if size != 1:
      raise GatoError(
        f"{where}: a discrete action (choices={source.choices}) is one number, this one has {size}"
      )
    return dm_specs.DiscreteArray(source.choices, np.int32, name="action")

  bounds = []
  for values in (source.minimum, source.maximum):
    if len(values) not in (1, size):
      raise GatoError(
        f"{where}: the action has {size} numbers, its bounds {len(values)}; "
        "give as many, or one for all"
      )
    bounds.append(np.broadcast_to(np.asarray(values, np.float32), (size,)))

  minimum, maximum = bounds
  if not np.all(np.isfinite(bounds)) or not np.all(minimum < maximum):
    raise GatoError(
      f"{where}: every minimum must be below its maximum, and both finite: "
      f"minimum={source.minimum}, maximum={source.maximum}"
    )
  return dm_specs.BoundedArray((size,), np.float32, minimum, maximum, name="action")


def is_text(feature: Any) -> bool:
  """True for TFDS' features of texts, or arrays of them."""
  return isinstance(feature, tfds.features.Text) or np.dtype(feature.np_dtype).kind in "OSU"


def is_image(feature: Any) -> bool:
  """True for TFDS' features of images, and for arrays that can be nothing else."""
  is_pixels = np.dtype(feature.np_dtype) == np.uint8 and len(feature.shape) == 3
  return isinstance(feature, tfds.features.Image) or is_pixels


def _field_spec(feature: Any, source: Source, key: str, where: str) -> dm_specs.Array:
  """Returns the spec of an observation field, whose type decides its tokens."""
  shape = feature.shape
  dtype = np.dtype(feature.np_dtype)

  if is_text(feature):
    if shape:
      raise GatoError(f"{where}: a text must be one string, this is an array {shape} of them")
    return dm_specs.StringArray(())

  if is_image(feature) or key in source.image_range:
    return _image_spec(shape, dtype, source, key=key, where=where)

  if None in shape:
    raise GatoError(f"{where}: the shape {shape} is not the same in every step")

  if key in source.observation_bounds:
    return _scaled_spec(shape, dtype, source.observation_bounds[key], where)

  # NumPy's kind of bfloat16 is not "f", so TensorFlow is asked.
  if tf.as_dtype(dtype).is_floating:
    return dm_specs.Array(shape, np.float32)
  if dtype.kind == "b":
    return dm_specs.BoundedArray(shape, np.int32, 0, 1)
  if dtype.kind not in "iu":
    raise GatoError(
      f"{where}: {dtype} is neither a number that is learned nor a text; "
      "leave it out of `observation`"
    )
  return dm_specs.BoundedArray(shape, np.int32, 0, _DISCRETE_VALUES - 1)


def _scaled_spec(
  shape: tuple[int, ...], dtype: np.dtype, bounds: tuple[Sequence[float], ...], where: str
) -> dm_specs.BoundedArray:
  """Returns the spec of numbers that are scaled by their bounds, which may be integers."""
  size = int(np.prod(shape, dtype=int))
  low, high = (np.asarray(side, np.float32) for side in bounds)
  if dtype.kind not in "fiub" and not tf.as_dtype(dtype).is_floating:
    raise GatoError(f"{where}: {dtype} is no number that can be scaled by observation_bounds")
  if low.size != size or high.size != size or not np.all(low < high):
    raise GatoError(
      f"{where}: observation_bounds need a smallest and a larger largest value for each of {size} "
      f"numbers, they are {bounds}"
    )

  return dm_specs.BoundedArray(shape, np.float32, low.reshape(shape), high.reshape(shape))


def _image_spec(
  shape: tuple[int | None, ...], dtype: np.dtype, source: Source, key: str, where: str
) -> dm_specs.BoundedArray:
  """Returns the spec of an image after its conversion: RGB, of the declared size."""
  value_range = source.image_range.get(key)
  if value_range is None and dtype != np.uint8:
    raise GatoError(
      f"{where}: images of {dtype} have no white that everybody knows; give the source "
      f"image_range={{{key!r}: (lowest, highest)}}, or name the other fields in its `observation`"
    )

  if value_range is not None:
    is_pair = len(value_range) == 2 and bool(np.all(np.isfinite(value_range)))
    if not is_pair or value_range[0] >= value_range[1]:
      raise GatoError(
        f"{where}: image_range must be a lowest and a highest value, this is {value_range}"
      )

  check_name(source.resize, resizing.WAYS, f"way to resize images in {where}")

  # [H, W] counts as grey, one channel.
  if len(shape) == 2:
    shape = (*shape, 1)
  size = source.image_size or shape[:2]

  # Patches are 16 pixels wide and high; None is a side that differs between images.
  fits_patches = all(side is not None and side % 16 == 0 for side in size)
  if len(shape) != 3 or not fits_patches or shape[2] not in (1, 3):
    raise GatoError(
      f"{where}: images are {shape}; give the source an image_size of multiples of 16, "
      "of RGB or grey images"
    )
  return dm_specs.BoundedArray((*size, 3), np.uint8, 0, 255)
