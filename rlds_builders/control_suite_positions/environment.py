"""The control suite without velocities: what one observation lacks, two of them show."""

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.worlds.suite import environment as suite_environment

_HIDDEN = "velocity"  # the suite's name of the field in all of these tasks


class PositionControlSuite(suite_environment.ControlSuite):
  """A suite task that hides velocities; experts act on the physics behind it."""

  def reset(self) -> dm_env.TimeStep:
    return _without_velocity(super().reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return _without_velocity(super().step(action))

  def observation_spec(self) -> dict[str, specs.Array]:
    spec = super().observation_spec()
    del spec[_HIDDEN]
    return spec


def _without_velocity(timestep: dm_env.TimeStep) -> dm_env.TimeStep:
  observation = {name: value for name, value in timestep.observation.items() if name != _HIDDEN}
  return timestep._replace(observation=observation)


def make(task: str) -> PositionControlSuite:
  """Returns the environment of a suite task, e.g. "reacher-easy"."""
  return PositionControlSuite(task)
