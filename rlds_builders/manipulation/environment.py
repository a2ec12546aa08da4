"""dm_control.manipulation as the library's environments: the Jaco arm and poses of its props."""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.base import wrappers
from rlds_builders.worlds import mujoco_rendering

# isort: split
from dm_control import manipulation

# Least reward of a success. The highest is 1 in every task; README says what this means in each.
SUCCESS = 0.95

# In these tasks the first brick is always welded to the table, so its velocities are always 0.
_WELDED = ("reassemble_3_bricks_fixed_order", "stack_2_bricks", "stack_3_bricks")
_WELDED_VELOCITIES = ("duplo2x4/angular_velocity", "duplo2x4/linear_velocity")

_VIDEO_SIDE = 128  # pixels, height and width of render()


class Manipulation(wrappers.Environment):
  """One task of the suite, e.g. "lift_brick"; 250 steps of 40 ms, no end at success."""

  def __init__(self, task: str):
    self._environment = manipulation.load(f"{task}_features", seed=0)
    self._omitted = _WELDED_VELOCITIES if task in _WELDED else ()
    self._renderer: mujoco_rendering.Renderer | None = None
    self._reward = 0.0

  @property
  def physics(self) -> Any:
    """dm_control's physics, for experts; another object after every reset()."""
    return self._environment.physics

  @property
  def task(self) -> Any:
    """dm_control's task, for experts."""
    return self._environment.task

  def seed(self, seed: int) -> None:
    self._environment.random_state.seed(seed)

  def reset(self) -> dm_env.TimeStep:
    # The suite compiles the model anew, so its renderer is of no use any more.
    self.close()

    # The suite shuffles the order of the last episode, on which the next would then depend.
    order = getattr(self.task, "_initial_order", None)
    if order is not None:
      order[:] = np.arange(len(order))

    self._reward = 0.0
    return self._converted(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    spec = self._environment.action_spec()
    timestep = self._environment.step(np.clip(action, -1, 1) * spec.maximum)
    self._reward = float(timestep.reward or 0.0)

    return self._converted(timestep)

  def episode_info(self) -> dict[str, Any]:
    """Returns "success", True when the reward of the last step is at least SUCCESS."""
    return {"success": self._reward >= SUCCESS}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {
      name: specs.Array(spec.shape[1:], np.float32, name)
      for name, spec in self._environment.observation_spec().items()
      if name not in self._omitted
    }

  def action_spec(self) -> specs.BoundedArray:
    """Returns the spec of velocities, of which 1 is the highest.

    They are of six arm joints (0.63 or 0.84 rad/s) and three fingers (5 rad/s, positive closes).
    """
    shape = self._environment.action_spec().shape
    return specs.BoundedArray(shape, np.float32, -1.0, 1.0, name="action")

  def control_timestep(self) -> float:
    return float(self._environment.control_timestep())

  def render(self) -> np.ndarray:
    if self._renderer is None:
      self._renderer = mujoco_rendering.Renderer(
        "manipulation", self.physics.model.ptr, _VIDEO_SIDE
      )
    return self._renderer.take(self.physics.data.ptr, "front_close")

  def close(self) -> None:
    if self._renderer is not None:
      self._renderer.close()
      self._renderer = None

  def _converted(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    """Returns the observation as float32, without the suite's leading axis of length 1."""
    observation = {
      name: np.asarray(value[0], np.float32)
      for name, value in timestep.observation.items()
      if name not in self._omitted
    }
    return timestep._replace(observation=observation)


def make(task: str) -> Manipulation:
  """Returns the environment of a suite task without its "_features", e.g. "stack_2_bricks"."""
  return Manipulation(task)
