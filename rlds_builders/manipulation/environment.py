"""dm_control.manipulation as the library's environments: the Jaco arm and the true poses of what it handles."""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders import _mujoco, _wrappers

# isort: split
from dm_control import manipulation

SUCCESS = 0.95  # of the reward, whose highest value is 1 in every task; README says what that means in each
# Where the first brick is always welded to the table its velocities are zeros, which say nothing.
_WELDED = ("reassemble_3_bricks_fixed_order", "stack_2_bricks", "stack_3_bricks")
_STILL = ("duplo2x4/angular_velocity", "duplo2x4/linear_velocity")
_SIZE = 128  # pixels, height and width of videos


class Manipulation(_wrappers.Environment):
  """One task of the suite, e.g. "lift_brick"; 250 steps of 40 ms, no end at success."""

  def __init__(self, task: str):
    self._environment = manipulation.load(f"{task}_features", seed=0)
    self._left_out = _STILL if task in _WELDED else ()
    self._pictures: _mujoco.Pictures | None = None
    self._reward = 0.0

  @property
  def physics(self) -> Any:
    """dm_control's physics, for experts; another object after every reset."""
    return self._environment.physics

  @property
  def task(self) -> Any:
    """dm_control's task."""
    return self._environment.task

  def seed(self, seed: int) -> None:
    self._environment.random_state.seed(seed)

  def reset(self) -> dm_env.TimeStep:
    self.close()  # the model is compiled anew
    order = getattr(self.task, "_initial_order", None)
    if order is not None:  # the suite shuffles the last episode's order again, so that an episode would depend on it
      order[:] = np.arange(len(order))
    self._reward = 0.0
    return self._converted(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    spec = self._environment.action_spec()
    timestep = self._environment.step(np.clip(action, -1, 1) * spec.maximum)
    self._reward = float(timestep.reward or 0.0)
    return self._converted(timestep)

  def episode_info(self) -> dict[str, Any]:
    """success: the reward of the last step is at least SUCCESS."""
    return {"success": self._reward >= SUCCESS}

  def observation_spec(self) -> dict[str, specs.Array]:
    fields = self._environment.observation_spec()
    return {k: specs.Array(v.shape[1:], np.float32, k) for k, v in fields.items() if k not in self._left_out}

  def action_spec(self) -> specs.BoundedArray:
    """Velocities, 1 is the highest: six arm joints (0.63 or 0.84 rad/s), three fingers (5 rad/s, positive closes)."""
    return specs.BoundedArray(self._environment.action_spec().shape, np.float32, -1.0, 1.0, name="action")

  def control_timestep(self) -> float:
    return float(self._environment.control_timestep())

  def render(self) -> np.ndarray:
    if self._pictures is None:
      self._pictures = _mujoco.Pictures("manipulation", self.physics.model.ptr, _SIZE)
    return self._pictures.take(self.physics.data.ptr, "front_close")

  def close(self) -> None:
    if self._pictures is not None:
      self._pictures.close()
      self._pictures = None

  def _converted(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    """float32, without the suite's leading axis of length 1."""
    fields = {k: np.asarray(v[0], np.float32) for k, v in timestep.observation.items() if k not in self._left_out}
    return timestep._replace(observation=fields)


def make(task: str) -> Manipulation:
  """The suite's task without "_features", e.g. "stack_2_bricks"."""
  return Manipulation(task)
