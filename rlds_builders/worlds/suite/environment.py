"""dm_control.suite as the library's environments: float32 states, named and shaped by the suite."""

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.base import wrappers
from rlds_builders.worlds import mujoco_rendering

# isort: split
from dm_control import mujoco, suite
from dm_control.suite import base

VIDEO_SIDE = 128  # pixels, height and width of render()


class ControlSuite(wrappers.Environment):
  """One suite task, named "domain-task", e.g. "cartpole-balance"."""

  def __init__(self, task: str):
    domain_name, task_name = task.split("-")
    self._environment = suite.load(domain_name, task_name, task_kwargs={"random": 0})
    self._renderer = mujoco_rendering.Renderer("control_suite", self.physics.model.ptr, VIDEO_SIDE)

  @property
  def physics(self) -> mujoco.Physics:
    """dm_control's physics, for experts that plan from the true state."""
    return self._environment.physics

  @property
  def task(self) -> base.Task:
    """dm_control's task."""
    return self._environment.task

  @property
  def substeps(self) -> int:
    """Physics steps per control step."""
    return round(self.control_timestep() / self.physics.timestep())

  def seed(self, seed: int) -> None:
    self.task.random.seed(seed)

  def reset(self) -> dm_env.TimeStep:
    return _with_float32(self._environment.reset())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    return _with_float32(self._environment.step(np.asarray(action, np.float64)))

  def observation_spec(self) -> dict[str, specs.Array]:
    return {
      name: specs.Array(spec.shape, np.float32, name)
      for name, spec in self._environment.observation_spec().items()
    }

  def action_spec(self) -> specs.BoundedArray:
    spec = self._environment.action_spec()
    return specs.BoundedArray(
      spec.shape,
      np.float32,
      minimum=spec.minimum.astype(np.float32),
      maximum=spec.maximum.astype(np.float32),
      name="action",
    )

  def control_timestep(self) -> float:
    return float(self._environment.control_timestep())

  def render(self) -> np.ndarray:
    return self._renderer.take(self.physics.data.ptr, camera=0)

  def close(self) -> None:
    self._renderer.close()
    self._environment.close()


def _with_float32(timestep: dm_env.TimeStep) -> dm_env.TimeStep:
  observation = {
    name: np.asarray(value, np.float32) for name, value in timestep.observation.items()
  }
  return timestep._replace(observation=observation)


def make(task: str) -> ControlSuite:
  """Returns the environment of a suite task, e.g. "reacher-easy"."""
  return ControlSuite(task)
