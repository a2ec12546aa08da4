"""Walks straight to the goal."""

import dm_env
import numpy as np

from rlds_builders.dummy import environment as dummy_environment


class StraightLine:
  """Acts on the environment's privileged goal, as experts may."""

  def __init__(self, environment: dummy_environment.Reach, discrete: bool):
    self._environment = environment
    self._discrete = discrete

  def reset(self, seed: int) -> None:
    """Nothing to forget: the expert has no state."""

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    offset = self._environment.goal - timestep.observation["body"]["position"]
    if not self._discrete:
      size = dummy_environment.STEP_SIZE
      return np.clip(offset, -size, size).astype(np.float32)
    axis = int(np.argmax(np.abs(offset)))
    move = np.zeros(2)
    move[axis] = np.sign(offset[axis])
    return np.int32(np.argmax(dummy_environment.MOVES @ move))


def make(environment: dummy_environment.Reach, task: str) -> StraightLine:
  return StraightLine(environment, discrete=task == "reach_discrete")
