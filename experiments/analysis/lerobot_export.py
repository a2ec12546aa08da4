"""Episodes of ours as a LeRobot dataset."""

import pathlib
from typing import Any

import numpy as np

from gato_jax import progress
from gato_jax.data.records import Episode, EpisodeSource
from gato_jax.evaluate.videos import DEFAULT_FPS
from gato_jax.task import TaskSpec
from gato_jax.tokens import fields
from gato_jax.tokens.vocabulary import Kind
from rlds_builders.recordings import lerobot_writer
from rlds_builders.recordings.recording import Field

_ACTION, _REWARD, _DONE, _SUCCESS = "action", "next.reward", "next.done", "next.success"


def export(episodes: EpisodeSource, folder: pathlib.Path) -> None:
  """Writes all episodes of a task.

  Args:
    episodes: The episodes.
    folder: Folder of the dataset, which does not exist.

  Raises:
    GatoError: There are no episodes, or one cannot be read.
  """
  spec = episodes.spec
  instruction = _instruction(spec)
  names = {key: _name(key, field) for key, field in spec.observation.items() if key != instruction}

  columns = {name: _field(spec.observation[key]) for key, name in names.items()}
  columns[_ACTION] = _field(spec.action)
  columns |= {_REWARD: Field((1,), np.dtype(np.float32)), _DONE: Field((1,), np.dtype(bool))}
  columns[_SUCCESS] = Field((1,), np.dtype(bool))

  fps = max(1, round(1 / spec.control_timestep if spec.control_timestep else DEFAULT_FPS))
  writer = lerobot_writer.LeRobotWriter(folder, columns, fps)

  bar = progress.Bar(episodes, spec.name, unit="episode", leave=False, delay=2)
  for episode in bar:
    tasks = [spec.name] * len(episode.action)
    if instruction:
      tasks = _texts(episode.observation[instruction])
    writer.add(_columns(episode, names), tasks)
  writer.close()


def _columns(episode: Episode, names: dict[str, str]) -> dict[str, np.ndarray]:
  length = len(episode.action)
  is_last = np.arange(length) == length - 1

  columns = {_ACTION: _flat(episode.action), _REWARD: episode.rewards, _DONE: is_last}
  columns[_SUCCESS] = is_last & (episode.metadata["success"] == 1)
  for key, name in names.items():
    column = episode.observation[key]
    columns[name] = np.array(_texts(column), object) if column.dtype == object else _flat(column)
  return columns


def _instruction(spec: TaskSpec) -> str:
  """Returns the key of the first text, which says what is to be done; "" where there is none."""
  texts = [
    key for key, field in spec.observation.items() if fields.kind_of(key, field) == Kind.TEXT
  ]
  return min(texts, default="")


def _name(key: str, spec: Any) -> str:
  """Returns LeRobot's name of an observation."""
  path = key.replace("/", ".")
  is_image = fields.kind_of(key, spec) == Kind.PATCH
  return f"observation.images.{path}" if is_image else f"observation.{path}"


def _field(spec: Any) -> Field:
  if np.dtype(spec.dtype) == object:
    return Field((1,), np.dtype(object))
  if fields.kind_of("", spec) == Kind.PATCH:
    return Field(spec.shape, np.dtype(np.uint8), is_image=True)
  # LeRobot's numbers have one axis.
  return Field((int(np.prod(spec.shape)),), np.dtype(spec.dtype))


def _flat(column: np.ndarray) -> np.ndarray:
  """Returns images as they are, and numbers as [T, A]."""
  return column if column.ndim == 4 else column.reshape(len(column), -1)


def _texts(column: np.ndarray) -> list[str]:
  return [text.decode() for text in column.tolist()]
