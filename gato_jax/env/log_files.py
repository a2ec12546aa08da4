"""Files of raw logs: EnvLogger writes them, and TFDS where EnvLogger cannot be had.

A run is what one writer wrote, and a shard has runs of one format only:

  riegeli        metadata.riegeli       one for all runs of the shard
                 <time>/*.riegeli       EnvLogger's steps
  array_record   <time>/log-train.array_record-00000, features.json, dataset_info.json
                                        RLDS episodes, which tfds.builder_from_directory opens

EnvLogger has wheels for Python 3.11 on Linux, and for 3.12 and 3.13 where glibc is 2.38 or newer.
Either format gives back the same columns, value for value (tests/env/test_log_files.py).
"""

import importlib.util
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import dm_env
import numpy as np

from gato_jax.errors import GatoError
from gato_jax.task import flatten, nested

RIEGELI = "riegeli"
ARRAY_RECORD = "array_record"

_METADATA = "metadata.riegeli"
_MAX_EPISODES_PER_FILE = 1_000_000  # a run is a file

Columns = dict[str, np.ndarray]


class Run(Protocol):
  """A run that is being written.

  Attributes:
    environment: The environment with a logger around it. It logs each episode that ends.
  """

  environment: Any

  def close(self) -> pathlib.Path:
    """Closes the files, not the environment; returns the run's directory."""


def default_format() -> str:
  """Returns the format in which new shards are written on this machine."""
  return RIEGELI if importlib.util.find_spec("envlogger") else ARRAY_RECORD


def format_of(shard: pathlib.Path) -> str | None:
  """Returns the format of a shard's runs; None if it has none yet."""
  if (shard / _METADATA).exists():
    return RIEGELI
  return ARRAY_RECORD if any(shard.glob(f"*/*.{ARRAY_RECORD}-*")) else None


def is_log(path: pathlib.Path) -> bool:
  """Returns whether a file of a shard holds steps or describes them."""
  return path.suffix == f".{RIEGELI}" or f".{ARRAY_RECORD}-" in path.name


def open_run(
  directory: pathlib.Path,
  file_format: str,
  environment: dm_env.Environment,
  expert_action: Callable[[], Any] | None = None,
) -> Run:
  """Opens a new run.

  Args:
    directory: A directory that does not exist yet; the run's own is made in it.
    file_format: RIEGELI or ARRAY_RECORD.
    environment: Where the episodes are played.
    expert_action: Returns the expert's own action in the step just taken; None if that is the
      executed one.

  Raises:
    GatoError: The package that writes the format is not installed.
  """
  directory.mkdir()
  run_class = _EnvLoggerRun if file_format == RIEGELI else _TfdsRun
  return run_class(directory, environment, expert_action)


def keep(run: pathlib.Path, shard: pathlib.Path) -> None:
  """Moves a closed run, which becomes a complete one of a shard, and what describes it."""
  metadata = run.parent / _METADATA
  if metadata.exists():
    metadata.replace(shard / _METADATA)
  run.rename(shard / run.name)


def read(shard: pathlib.Path) -> Iterator[Columns]:
  """Yields the columns of each episode of a shard in the order of its runs' names.

  The columns have T+1 steps: flat observation keys under "observation/", `action`,
  `expert_action`, reward and discount, aligned as in RLDS.

  Raises:
    GatoError: The package that reads the format is not installed.
    RuntimeError, IndexError, TypeError, ValueError: A file is truncated or corrupt.
  """
  file_format = format_of(shard)
  if file_format is None:
    raise ValueError("it has no log files")

  if file_format == ARRAY_RECORD:
    for run in sorted(path.parent for path in shard.glob("*/features.json")):
      yield from _read_array_record(run)
    return

  with _envlogger().reader.Reader(data_directory=str(shard)) as log:
    for episode in log.episodes:
      steps = list(episode)
      expert_actions = None
      if len(steps) > 1 and steps[1].custom_data:
        expert_actions = [step.custom_data["expert_action"] for step in steps[1:]]
      yield columns([s.timestep for s in steps], [s.action for s in steps[1:]], expert_actions)


def columns(
  timesteps: list[dm_env.TimeStep], actions: list[Any], expert_actions: list[Any] | None
) -> Columns:
  """Returns an episode as columns with RLDS's alignment.

  Args:
    timesteps: T + 1.
    actions: The executed ones, T; action t led to timestep t + 1.
    expert_actions: Those that the expert would have taken, T; None if they are `actions`.
  """
  observations = [flatten(timestep.observation) for timestep in timesteps]
  episode = {}
  for key in observations[0]:
    column = np.stack([o[key] for o in observations])
    # EnvLogger gives back texts as objects where they were arrays.
    episode[f"observation/{key}"] = column.astype(str) if column.dtype == object else column

  # dm_env: timestep t has the reward and the discount that led to observation t. RLDS: step t holds
  # those that follow it. So each is taken from the step after, and the last step is padded.
  for name, taken in (("action", actions), ("expert_action", expert_actions or actions)):
    arrays = [np.asarray(action) for action in taken]
    episode[name] = np.stack([*arrays, np.zeros_like(arrays[-1])])

  rewards = [float(timestep.reward) for timestep in timesteps[1:]]
  discounts = [float(timestep.discount) for timestep in timesteps[1:]]
  episode["reward"] = np.array([*rewards, 0.0], np.float32)
  episode["discount"] = np.array([*discounts, 0.0], np.float32)
  return episode


def _envlogger() -> Any:
  """Returns the package envlogger with what we use of it, imported when logs are first needed.

  Raises:
    GatoError: It is not installed.
  """
  # envlogger 1.2's codec uses this NumPy 1 alias. Version 1.3 does not, but needs a newer glibc
  # than Debian 12 has.
  np.unicode_ = np.str_  # type: ignore[attr-defined]  # NumPy 2 has no such name: that is the point
  try:
    import envlogger
    import envlogger.backends.riegeli_backend_writer
    import envlogger.reader
  except ImportError as e:
    raise GatoError(
      f"these raw logs were written by envlogger, which cannot be imported here ({e}); run "
      "pip install envlogger (Python 3.11, or 3.12 and 3.13 with glibc 2.38), or collect again"
    ) from e
  return envlogger


class _EnvLoggerRun:
  """A run of EnvLogger, which names its directory by the time at which it began."""

  def __init__(
    self,
    directory: pathlib.Path,
    environment: dm_env.Environment,
    expert_action: Callable[[], Any] | None,
  ):
    self._directory = directory
    self._played = environment
    self._expert_action = expert_action
    self.environment = _envlogger().EnvLogger(
      environment,
      backend=self._open_backend,
      data_directory=str(directory),
      step_fn=self._step_metadata if expert_action else None,
    )

  def _open_backend(self, **settings: Any) -> Any:
    backends = _envlogger().backends
    self._backend = backends.riegeli_backend_writer.RiegeliBackendWriter(**settings)
    return self._backend

  def _step_metadata(
    self, timestep: dm_env.TimeStep, action: Any, environment: Any
  ) -> dict[str, np.ndarray]:
    """Returns what EnvLogger keeps beside a step."""
    del action, environment
    assert self._expert_action is not None

    # No action led to the first step, but the codec wants the same structure in all of them.
    if timestep.first():
      return {"expert_action": np.zeros_like(self._played.action_spec().generate_value())}
    return {"expert_action": self._expert_action()}

  def close(self) -> pathlib.Path:
    # The logger's own close() would close the environment, too.
    self._backend.close()
    (run,) = (path for path in self._directory.iterdir() if path.is_dir())
    return run


class _TfdsRun:
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

  def _write(self, episode: Columns) -> None:
    import tensorflow_datasets as tfds

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
    write: Callable[[Columns], None],
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
      self._write(columns(self._timesteps, self._actions, self._expert_actions or None))
    return timestep


def _copied(timestep: dm_env.TimeStep) -> dm_env.TimeStep:
  """Returns a timestep that stays as it is when the simulator reuses its buffers."""
  observation = {key: np.array(value) for key, value in flatten(timestep.observation).items()}
  return timestep._replace(observation=observation)


def _tfds_writer(run: pathlib.Path, episode: Columns) -> Any:
  """Returns TFDS' writer of episodes with the fields, types and shapes of this one."""
  import tensorflow_datasets as tfds

  flags = dict.fromkeys(("is_first", "is_last", "is_terminal"), np.bool_)
  steps = nested({name: _feature(column) for name, column in episode.items()}) | flags
  info = tfds.core.DatasetInfo(
    builder=tfds.core.DatasetIdentity(
      name="log", version=tfds.core.Version("1.0.0"), data_dir=str(run), module_name=__name__
    ),
    features=tfds.features.FeaturesDict({"steps": tfds.features.Dataset(steps)}),
    description="A run of a raw log.",
  )
  writer = tfds.core.SequentialWriter(
    info, _MAX_EPISODES_PER_FILE, overwrite=False, file_format=ARRAY_RECORD
  )
  writer.initialize_splits([tfds.Split.TRAIN])
  return writer


def _feature(column: np.ndarray) -> Any:
  """Returns TFDS' feature of a column; numbers are stored as they are, bit by bit."""
  import tensorflow_datasets as tfds

  if column.dtype.kind == "U":
    return tfds.features.Text()
  return tfds.features.Tensor(
    shape=column.shape[1:], dtype=column.dtype, encoding=tfds.features.Encoding.ZLIB
  )


def _read_array_record(run: pathlib.Path) -> Iterator[Columns]:
  import tensorflow_datasets as tfds

  flags = {"is_first", "is_last", "is_terminal"}
  for episode in tfds.builder_from_directory(run).as_data_source(tfds.Split.TRAIN):
    steps = [flatten(step) for step in episode["steps"]]
    names = [name for name in steps[0] if name not in flags]
    yield {name: _stack([step[name] for step in steps]) for name in names}


def _stack(values: list[Any]) -> np.ndarray:
  return np.stack([v.decode() if isinstance(v, bytes) else v for v in values])
