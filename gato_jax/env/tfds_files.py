"""Runs of raw logs that TFDS writes, without TensorFlow: RLDS episodes in array records."""

import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import dm_env
import numpy as np
import tensorflow_datasets as tfds

from gato_jax.env import log_columns
from gato_jax.task import flatten, nested

FILE_FORMAT = "array_record"

_FLAGS = ("is_first", "is_last", "is_terminal")
_MAX_EPISODES_PER_FILE = 1_000_000  # a run is a file


class TfdsRun:
  """A run of RLDS episodes that TFDS writes, without TensorFlow."""

  def __init__(
    self,
    directory: pathlib.Path,
    environment: dm_env.Environment,
    expert_action: Callable[[], Any] | None,
  ):
    # The name sorts as EnvLogger's do: by the time at which the run began.
    self._run = directory / f"{time.time_ns():020d}"
    self._run.mkdir()
    self._writer: Any = None
    self.environment = _EpisodeRecorder(environment, expert_action, self._write)

  def _write(self, episode: log_columns.Columns) -> None:
    if self._writer is None:
      self._writer = _tfds_writer(self._run, episode)

    last = len(episode["reward"]) - 1
    steps = []
    for t in range(last + 1):
      step = nested({name: column[t] for name, column in episode.items()})
      is_terminal = t == last and episode["discount"][last - 1] == 0
      steps.append({**step, "is_first": t == 0, "is_last": t == last, "is_terminal": is_terminal})

    self._writer.add_examples({tfds.Split.TRAIN: [{"steps": steps}]})

  def close(self) -> pathlib.Path:
    if self._writer is not None:
      self._writer.close_all()
    return self._run


class _EpisodeRecorder:
  """An environment that hands over each episode that ends."""

  def __init__(
    self,
    environment: dm_env.Environment,
    expert_action: Callable[[], Any] | None,
    write: Callable[[log_columns.Columns], None],
  ):
    self._environment = environment
    self._expert_action = expert_action
    self._write = write

  def __getattr__(self, name: str) -> Any:
    return getattr(self._environment, name)

  def reset(self) -> dm_env.TimeStep:
    timestep = self._environment.reset()
    self._timesteps = [_copied(timestep)]
    self._actions: list[Any] = []
    self._expert_actions: list[Any] = []
    return timestep

  def step(self, action: Any) -> dm_env.TimeStep:
    timestep = self._environment.step(action)
    self._timesteps.append(_copied(timestep))
    self._actions.append(np.array(action))
    if self._expert_action is not None:
      self._expert_actions.append(np.array(self._expert_action()))

    if timestep.last():
      self._write(
        log_columns.from_steps(self._timesteps, self._actions, self._expert_actions or None)
      )
    return timestep


def _copied(timestep: dm_env.TimeStep) -> dm_env.TimeStep:
  """Returns a timestep that stays as it is when the simulator reuses its buffers."""
  observation = {key: np.array(value) for key, value in flatten(timestep.observation).items()}
  return timestep._replace(observation=observation)


def _tfds_writer(run: pathlib.Path, episode: log_columns.Columns) -> Any:
  """Returns TFDS' writer of episodes with the fields, types and shapes of this one."""
  flags = dict.fromkeys(_FLAGS, np.bool_)
  steps = nested({name: _feature(column) for name, column in episode.items()}) | flags
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name="log", version=tfds.core.Version("1.0.0"), data_dir=str(run), module_name=__name__
    ),
    features=tfds.features.FeaturesDict({"steps": tfds.features.Dataset(steps)}),
    description="A run of a raw log.",
  )
  writer = tfds.core.SequentialWriter(
    info, _MAX_EPISODES_PER_FILE, overwrite=False, file_format=FILE_FORMAT
  )
  writer.initialize_splits([tfds.Split.TRAIN])
  return writer


def _feature(column: np.ndarray) -> Any:
  """Returns TFDS' feature of a column; numbers are stored as they are, bit by bit."""
  if column.dtype.kind == "U":
    return tfds.features.Text()
  return tfds.features.Tensor(
    shape=column.shape[1:], dtype=column.dtype, encoding=tfds.features.Encoding.ZLIB
  )


def read(run: pathlib.Path) -> Iterator[log_columns.Columns]:
  """Yields the episodes of a run."""
  for episode in tfds.builder_from_directory(run).as_data_source(tfds.Split.TRAIN):
    steps = [flatten(step) for step in episode["steps"]]
    names = [name for name in steps[0] if name not in _FLAGS]
    yield {name: _stack([step[name] for step in steps]) for name in names}


def _stack(values: list[Any]) -> np.ndarray:
  return np.stack([v.decode() if isinstance(v, bytes) else v for v in values])
