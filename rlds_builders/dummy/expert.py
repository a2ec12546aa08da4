"""The expert of the dummy domain: walks straight to the goal."""

import dm_env
import numpy as np

from rlds_builders.dummy import environment as dummy_environment


class StraightLine:
  """Moves along the line to the goal, which it reads from the environment, as experts may."""

  def __init__(self, environment: dummy_environment.Reach, discrete: bool):
    self._environment = environment
    self._discrete = discrete

  def reset(self, seed: int) -> None:
    """Does nothing: this expert has no memory and draws no random numbers."""

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray | np.int32:
    """Returns the action for an observation, as in the environment's action_spec()."""
    offset = self._environment.goal - timestep.observation["body"]["position"]

    if not self._discrete:
      size = dummy_environment.STEP_SIZE
      return np.clip(offset, -size, size).astype(np.float32)

    # The move along the axis on which the goal is farther away.
    axis = int(np.argmax(np.abs(offset)))
    direction = np.zeros(2)
    direction[axis] = np.sign(offset[axis])

    return np.int32(np.argmax(dummy_environment.MOVES @ direction))


def make(environment: dummy_environment.Reach, task: str) -> StraightLine:
  """Returns the expert of a task, for an environment of the same task."""
  return StraightLine(environment, discrete=task == "reach_discrete")
