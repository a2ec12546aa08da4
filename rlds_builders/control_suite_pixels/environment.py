"""dm_control.suite from pixels alone: 64x64 pictures of the suite's first camera."""

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders import _mujoco
from rlds_builders.control_suite import environment as control_suite

SIDE = 64  # pixels


class PixelControlSuite(control_suite.ControlSuite):
  """A suite task whose observation is one picture; experts act on the physics behind it."""

  def __init__(self, task: str):
    super().__init__(task)
    self._pictures = _mujoco.Pictures("control_suite_pixels", self.physics.model.ptr, SIDE)

  def reset(self) -> dm_env.TimeStep:
    return self._with_pixels(super().reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return self._with_pixels(super().step(action))

  def _with_pixels(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    return timestep._replace(observation={"pixels": self.render()})

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"pixels": specs.BoundedArray((SIDE, SIDE, 3), np.uint8, 0, 255, name="pixels")}


def make(task: str) -> PixelControlSuite:
  """The suite's task, e.g. "reacher-easy"."""
  return PixelControlSuite(task)
