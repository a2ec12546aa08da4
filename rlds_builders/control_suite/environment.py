"""dm_control.suite as the library's environments: float32 states as the suite names and shapes them."""

import atexit
import ctypes.util
import os

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders import _wrappers

# Importing MuJoCo loads the GL library that MUJOCO_GL names; states need none, so without EGL everything but render()
# still works. dm_control would open a display on import, so its own renderer is off: render() uses MuJoCo's.
_GL = os.environ.setdefault("MUJOCO_GL", "egl" if ctypes.util.find_library("EGL") else "disable")

import mujoco  # noqa: E402

os.environ["MUJOCO_GL"] = "disable"
from dm_control import suite  # noqa: E402

os.environ["MUJOCO_GL"] = _GL

_SIZE = 128  # pixels, height and width of videos


class ControlSuite(_wrappers.Environment):
  """One suite task; "domain-task", e.g. "cartpole-balance"."""

  def __init__(self, task: str):
    domain_name, task_name = task.split("-")
    self._environment = suite.load(domain_name, task_name, task_kwargs={"random": 0})
    self._renderer = None

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
    if self._renderer is None:
      model = self.physics.model.ptr
      model.vis.quality.offsamples = 0
      model.vis.quality.shadowsize = 0
      with _wrappers.rendering("control_suite"):
        self._renderer = mujoco.Renderer(model, _SIZE, _SIZE)
      atexit.register(self.close)  # before the display goes, which MuJoCo registered first
      for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
        self._renderer.scene.flags[flag] = False
    self._renderer.update_scene(self.physics.data.ptr, camera=0)
    return self._renderer.render()

  def close(self) -> None:
    if self._renderer is not None:
      self._renderer.close()
      self._renderer = None
      atexit.unregister(self.close)
    self._environment.close()


def _with_float32(timestep: dm_env.TimeStep) -> dm_env.TimeStep:
  return timestep._replace(observation={k: np.asarray(v, np.float32) for k, v in timestep.observation.items()})


def make(task: str) -> ControlSuite:
  """The suite's task, e.g. "reacher-easy"."""
  return ControlSuite(task)
