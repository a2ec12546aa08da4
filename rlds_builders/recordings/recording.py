"""Recorded episodes of any format: fields by path, and episodes as columns.

A path names a field of a step, nested keys joined with "/". Whatever its format calls them, these
have one name:

  observation/KEY        what the agent saw
  action                 what it did there
  reward                 of that action, where it is recorded
  is_terminal            True in a last step that ended by itself
  language_instruction   the task in words, where it is recorded
"""

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from gato_jax.errors import GatoError

OBSERVATION = "observation"
ACTION, REWARD, TERMINAL = "action", "reward", "is_terminal"
INSTRUCTION = "language_instruction"

_ONE_A_STEP = (ACTION, REWARD)  # there is none after the last observation


@dataclasses.dataclass(frozen=True)
class Field:
  """One field of a step.

  Attributes:
    shape: Its shape; None is a side that differs between episodes.
    dtype: NumPy's type; "O" for a text.
    is_image: True for pixels.
  """

  shape: tuple[int | None, ...]
  dtype: np.dtype
  is_image: bool = False

  @classmethod
  def of_column(cls, shape: tuple[int, ...], dtype: np.dtype) -> "Field":
    """Returns the field of a column [T, ...]; uint8 [T, H, W, 1 or 3] is an image."""
    dtype = np.dtype(dtype)
    if dtype.kind in "OSU":
      return cls(shape[1:], np.dtype(object))

    is_image = dtype == np.uint8 and len(shape) == 4 and shape[3] in (1, 3)
    return cls(shape[1:], dtype, is_image)


TEXT = Field((), np.dtype(object))


class Recording(Protocol):
  """Episodes of one dataset."""

  @property
  def fields(self) -> Mapping[str, Field]:
    """Path -> field of a step."""
    ...

  @property
  def splits(self) -> Mapping[str, int]:
    """Name of a split -> number of its episodes."""
    ...

  def episodes(self, split: str, used: Collection[str]) -> Iterator[dict[str, np.ndarray]]:
    """Yields the columns [T, ...] of each episode, by path.

    Args:
      split: Key of `splits`.
      used: Paths that are read; others may be left out, and their images are not decoded.
    """
    ...


def steps(columns: Mapping[str, Any], where: str) -> list[dict[str, Any]]:
  """Returns an episode's steps, as RLDS has them: the last one has an observation only.

  Formats that keep the observation after the last action have one observation more than actions;
  the others lose their last action.

  Args:
    columns: Path -> [T, ...]; actions and rewards may be one fewer than observations.
    where: Begins messages.

  Raises:
    GatoError: The columns have other lengths.
  """
  lengths = {path: len(column) for path, column in columns.items()}
  length = max(lengths.values(), default=0)

  padded = {}
  for path, column in columns.items():
    missing = length - lengths[path]
    if missing and (missing > 1 or not path.startswith((*_ONE_A_STEP, TERMINAL))):
      raise GatoError(f"{where}: {path} has {lengths[path]} steps, other fields have {length}")

    padded[path] = column
    if missing:
      # The action that follows the last observation does not exist; its step is terminal if the
      # one before it was marked.
      last = column[-1:] if path == TERMINAL else np.zeros_like(column[-1:])
      padded[path] = np.concatenate([column, last])

  return [{path: column[t] for path, column in padded.items()} for t in range(length)]


def episodes(
  recording: Recording, splits: str, used: Collection[str], where: str
) -> Iterator[dict[str, np.ndarray]]:
  """Yields the episodes of splits, whose names are joined with "+".

  Raises:
    GatoError: There is no such split, or a file of it is damaged.
  """
  names = splits.split("+")
  for name in names:
    if name not in recording.splits:
      raise GatoError(f"{where} has no split {name!r}; it has {', '.join(recording.splits)}")

  for name in names:
    yield from recording.episodes(name, used)
