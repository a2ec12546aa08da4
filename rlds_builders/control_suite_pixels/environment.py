"""The control suite from pixels alone: 64x64 images of the suite's first camera."""

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.worlds import mujoco_rendering
from rlds_builders.worlds.suite import environment as suite_environment

SIDE = 64  # pixels


class PixelControlSuite(suite_environment.ControlSuite):
  """A suite task whose observation is one image; experts act on the physics behind it."""

  def __init__(self, task: str):
    super().__init__(task)
    # Replaces the renderer of videos: the observation is the video's image as well.
    self._renderer = mujoco_rendering.Renderer("control_suite_pixels", self.physics.model.ptr, SIDE)

  def reset(self) -> dm_env.TimeStep:
    return self._with_pixels(super().reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return self._with_pixels(super().step(action))

  def _with_pixels(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    return timestep._replace(observation={"pixels": self.render()})

  def observation_spec(self) -> dict[str, specs.Array]:
    return {"pixels": specs.BoundedArray((SIDE, SIDE, 3), np.uint8, 0, 255, name="pixels")}


def make(task: str) -> PixelControlSuite:
  """Returns the environment of a suite task, e.g. "reacher-easy"."""
  return PixelControlSuite(task)
