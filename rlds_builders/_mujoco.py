"""MuJoCo and dm_control imported without opening a display (import this first), and fast pictures of their models."""

import atexit
import ctypes.util
import os

import numpy as np

from rlds_builders import _wrappers

# Importing MuJoCo loads the GL library that MUJOCO_GL names; states need none, so without EGL everything but pictures
# still works. dm_control would open a display on import, so its own renderer is off: Camera uses MuJoCo's.
_GL = os.environ.setdefault("MUJOCO_GL", "egl" if ctypes.util.find_library("EGL") else "disable")

import mujoco  # noqa: E402

os.environ["MUJOCO_GL"] = "disable"
import dm_control.mujoco  # noqa: E402, F401

os.environ["MUJOCO_GL"] = _GL


class Pictures:
  """Square pictures of a model by its cameras, without shadows, reflections and smoothed edges: three times faster.

  Args:
    domain: named in errors.
    model: simulated; its visual settings change.
    size: pixels, height and width.
  """

  def __init__(self, domain: str, model: mujoco.MjModel, size: int):
    self._domain, self._model, self._size = domain, model, size
    self._renderer: mujoco.Renderer | None = None

  def take(self, data: mujoco.MjData, camera: str | int) -> np.ndarray:
    """uint8 [size, size, 3]; GatoError where the system cannot render."""
    if self._renderer is None:
      self._model.vis.quality.offsamples = 0
      self._model.vis.quality.shadowsize = 0
      with _wrappers.rendering(self._domain):
        self._renderer = mujoco.Renderer(self._model, self._size, self._size)
      atexit.register(self.close)  # before the display goes, which MuJoCo registered first
      for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
        self._renderer.scene.flags[flag] = False
    self._renderer.update_scene(data, camera=camera)
    return self._renderer.render()

  def close(self) -> None:
    if self._renderer is not None:
      self._renderer.close()
      self._renderer = None
      atexit.unregister(self.close)
