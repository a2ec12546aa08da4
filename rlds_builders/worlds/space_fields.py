"""Spaces of gymnasium as specs: the fields of an observation, and the numbers of an action."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from dm_env import specs
from gymnasium import spaces

from gato_jax.errors import GatoError
from rlds_builders.base import resizing

_LARGEST_INTEGER = 1023  # of a discrete token

# Key of an observation that is no dict.
_ONLY = "observation"


@dataclasses.dataclass(frozen=True)
class Leaf:
  """A part of an observation that becomes one field.

  Attributes:
    path: Keys and indices that lead to it.
    spec: Spec of the field.
    convert: Converts a native value to the spec's.
  """

  path: tuple[Any, ...]
  spec: specs.Array
  convert: Callable[[Any], Any]

  @property
  def key(self) -> str:
    return "/".join(map(str, self.path)) or _ONLY


def parts(space: spaces.Space, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple, spaces.Space]]:
  """Yields (path, space) of everything inside dicts and tuples, in their order."""
  if isinstance(space, spaces.Dict):
    inside: Any = space.items()
  elif isinstance(space, spaces.Tuple):
    inside = enumerate(space)
  else:
    yield path, space
    return

  for key, part in inside:
    yield from parts(part, (*path, key))


def leaf(
  path: tuple[Any, ...],
  space: spaces.Space,
  where: str,
  image_size: tuple[int, int] | None,
  resize: str,
) -> Leaf:
  """Returns the field of a part of the observation."""
  name = "/".join(map(str, path)) or _ONLY
  where = f"{where} {name!r}"

  if isinstance(space, spaces.Text):
    return Leaf(path, specs.StringArray((), name=name), str)

  if isinstance(space, spaces.Box) and _is_image(space):
    height, width = space.shape[:2]
    size = resizing.size_for((height, width), image_size, resize, where)
    spec = specs.BoundedArray((*size, 3), np.uint8, 0, 255, name=name)
    return Leaf(path, spec, lambda value: resizing.fit(np.asarray(value), size, resize))

  if (bounds := _integer_bounds(space)) is not None:
    low, high = bounds
    offset = np.minimum(low, 0) if isinstance(space, spaces.Box) else low
    largest = high - offset
    if np.max(largest, initial=0) <= _LARGEST_INTEGER:
      spec = specs.BoundedArray(space.shape, np.int32, 0, largest, name=name)
      return Leaf(path, spec, lambda value: (np.asarray(value) - offset).astype(np.int32))
    if not isinstance(space, spaces.Box):
      raise GatoError(
        f"{where} has {int(np.max(largest)) + 1:,} values, more than {_LARGEST_INTEGER + 1:,} "
        "tokens; derive from wrappers.GymnasiumEnvironment and split it"
      )

  if not isinstance(space, spaces.Box):
    raise GatoError(
      f"{where} is a {type(space).__name__}, whose size differs from step to step; derive from "
      "wrappers.GymnasiumEnvironment and write observe()"
    )

  bounded = bool(np.all(np.abs([space.low, space.high]) <= 1))
  spec = specs.Array(space.shape, np.float32, name=name)
  if bounded:
    spec = specs.BoundedArray(space.shape, np.float32, space.low, space.high, name=name)
  return Leaf(path, spec, lambda value: np.asarray(value, np.float32))


def _is_image(space: spaces.Box) -> bool:
  """True for uint8 pixels: smaller arrays are grids of symbols."""
  if space.dtype != np.uint8:
    return False

  shape = space.shape
  has_channels = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
  return has_channels and min(shape[:2]) >= resizing.SIDE and bool(np.all(space.high == 255))


def _integer_bounds(space: spaces.Space) -> tuple[np.ndarray, np.ndarray] | None:
  """Returns the lowest and highest integers of a space, None where it holds no integers."""
  match space:
    case spaces.Discrete():
      return np.array(space.start), np.array(space.start + space.n - 1)
    case spaces.MultiDiscrete():
      return np.asarray(space.start), np.asarray(space.start + space.nvec - 1)
    case spaces.MultiBinary():
      return np.zeros(space.shape, np.int64), np.ones(space.shape, np.int64)
    case spaces.Box() if np.issubdtype(space.dtype, np.integer):
      return space.low.astype(np.int64), space.high.astype(np.int64)
    case _:
      return None


class ActionParts:
  """The action space as one array, of the numbers of its parts one behind the other.

  Attributes:
    spec: Spec of the array; that of a single Discrete is a DiscreteArray.
  """

  def __init__(self, space: spaces.Space, name: str):
    self._parts = list(parts(space))
    self._space = space

    bounds = [_integer_bounds(part) for _, part in self._parts]
    self._is_discrete = all(pair is not None for pair in bounds)
    if self._is_discrete:
      self._offsets = [low for low, _ in bounds]  # type: ignore[misc]
      self.spec = self._discrete_spec(bounds, name)
    else:
      self.spec = self._continuous_spec(name)

  def _discrete_spec(self, bounds: Sequence[Any], name: str) -> specs.BoundedArray:
    largest = [np.ravel(high - low) for low, high in bounds]
    count = int(np.max(np.concatenate(largest))) + 1
    if count > _LARGEST_INTEGER + 1:
      raise GatoError(f"{name}: an action has {count:,} values, more than {_LARGEST_INTEGER + 1:,}")

    if isinstance(self._space, spaces.Discrete):
      return specs.DiscreteArray(count, np.int32, name="action")

    maximum = np.concatenate(largest)
    return specs.BoundedArray(maximum.shape, np.int32, 0, maximum, name="action")

  def _continuous_spec(self, name: str) -> specs.BoundedArray:
    low, high = [], []
    for path, part in self._parts:
      where = f"{name}: action {'/'.join(map(str, path)) or ''!r}"
      if not isinstance(part, spaces.Box) or np.issubdtype(part.dtype, np.integer):
        raise GatoError(
          f"{where} is a {type(part).__name__}; an action is all discrete or all numbers with "
          "bounds: derive from wrappers.GymnasiumEnvironment and write native_action()"
        )
      if not np.all(np.isfinite([part.low, part.high])):
        raise GatoError(
          f"{where} has no bounds; put gymnasium.wrappers.RescaleAction or a class of your own "
          "around the environment"
        )
      low.append(np.ravel(part.low))
      high.append(np.ravel(part.high))

    minimum = np.concatenate(low).astype(np.float32)
    maximum = np.concatenate(high).astype(np.float32)
    return specs.BoundedArray(minimum.shape, np.float32, minimum, maximum, name="action")

  def native(self, action: np.ndarray) -> Any:
    """Returns the space's own form of an action."""
    numbers = np.ravel(action)
    values: dict[tuple, Any] = {}

    for index, (path, part) in enumerate(self._parts):
      shape = part.shape or ()
      size = int(np.prod(shape))
      value = numbers[:size].reshape(shape).astype(part.dtype)
      numbers = numbers[size:]

      if self._is_discrete:
        value = value + self._offsets[index].astype(part.dtype)
      values[path] = int(value) if isinstance(part, spaces.Discrete) else value

    return _assembled(self._space, values)


def _assembled(space: spaces.Space, values: Mapping[tuple, Any], path: tuple = ()) -> Any:
  """Returns the dicts and tuples of a space with the values of its parts."""
  if isinstance(space, spaces.Dict):
    return {key: _assembled(part, values, (*path, key)) for key, part in space.items()}
  if isinstance(space, spaces.Tuple):
    return tuple(_assembled(part, values, (*path, i)) for i, part in enumerate(space))
  return values[path]
