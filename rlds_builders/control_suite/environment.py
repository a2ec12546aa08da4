"""dm_control.suite as the library's environments: float32 states as the suite names and shapes them."""

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders import _mujoco, _wrappers

# isort: split
from dm_control import suite

VIDEO_SIDE = 128  # pixels, height and width of videos


class ControlSuite(_wrappers.Environment):
  """One suite task; "domain-task", e.g. "cartpole-balance"."""

  def __init__(self, task: str):
    domain_name, task_name = task.split("-")
    self._environment = suite.load(domain_name, task_name, task_kwargs={"random": 0})
    self._pictures = _mujoco.Pictures("control_suite", self.physics.model.ptr, VIDEO_SIDE)

  @property
  def physics(self):
    """dm_control's physics, for experts that plan from the true state."""
    return self._environment.physics

  @property
  def task(self):
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
    return {k: specs.Array(v.shape, np.float32, k) for k, v in self._environment.observation_spec().items()}

  def action_spec(self) -> specs.BoundedArray:
    spec = self._environment.action_spec()
    return specs.BoundedArray(
      spec.shape, np.float32, spec.minimum.astype(np.float32), spec.maximum.astype(np.float32), name="action"
    )

  def control_timestep(self) -> float:
    return float(self._environment.control_timestep())

  def render(self) -> np.ndarray:
    return self._pictures.take(self.physics.data.ptr, camera=0)

  def close(self) -> None:
    self._pictures.close()
    self._environment.close()


def _with_float32(timestep: dm_env.TimeStep) -> dm_env.TimeStep:
  return timestep._replace(observation={k: np.asarray(v, np.float32) for k, v in timestep.observation.items()})


def make(task: str) -> ControlSuite:
  """The suite's task, e.g. "reacher-easy"."""
  return ControlSuite(task)
