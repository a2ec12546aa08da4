"""Runs of raw logs that EnvLogger writes: metadata.riegeli, and a directory a run."""

import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import dm_env
import numpy as np

from gato_jax.env import log_columns
from gato_jax.errors import GatoError

METADATA = "metadata.riegeli"  # one for all runs of a shard


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


class EnvLoggerRun:
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


def read(shard: pathlib.Path) -> Iterator[log_columns.Columns]:
  """Yields the episodes of all runs of a shard."""
  with _envlogger().reader.Reader(data_directory=str(shard)) as log:
    for episode in log.episodes:
      steps = list(episode)
      expert_actions = None
      if len(steps) > 1 and steps[1].custom_data:
        expert_actions = [step.custom_data["expert_action"] for step in steps[1:]]

      timesteps = [step.timestep for step in steps]
      actions = [step.action for step in steps[1:]]
      yield log_columns.from_steps(timesteps, actions, expert_actions)
