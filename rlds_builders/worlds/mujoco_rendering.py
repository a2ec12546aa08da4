"""Imports MuJoCo and dm_control without opening a display, and renders small images fast.

Import this before anything that imports MuJoCo.
"""

import atexit
import ctypes.util
import os

import numpy as np

from rlds_builders.base import wrappers

# Importing MuJoCo loads the GL library that MUJOCO_GL names. States need none, so without EGL
# everything but images still works.
_GL = os.environ.setdefault("MUJOCO_GL", "egl" if ctypes.util.find_library("EGL") else "disable")

import mujoco  # noqa: E402

# dm_control would open a display on import, so its own renderer is off: Renderer uses MuJoCo's.
os.environ["MUJOCO_GL"] = "disable"
import dm_control.mujoco  # noqa: E402, F401

os.environ["MUJOCO_GL"] = _GL


class Renderer:
  """Renders square images of a model by its cameras.

  Without shadows, reflections and smoothed edges it is three times faster.

  Args:
    domain: Name of the domain, for messages.
    model: The simulated model; its visual settings change.
    size: Pixels of height and width.
  """

  def __init__(self, domain: str, model: mujoco.MjModel, size: int):
    self._domain = domain
    self._model = model
    self._size = size
    self._renderer: mujoco.Renderer | None = None

  def take(self, data: mujoco.MjData, camera: str | int) -> np.ndarray:
    """Renders the current state.

    Args:
      data: State of the model.
      camera: Name or index of a camera.

    Returns:
      uint8 [size, size, 3].

    Raises:
      GatoError: This machine cannot render.
    """
    # Created on first use: most processes never render.
    if self._renderer is None:
      self._renderer = self._create()

    self._renderer.update_scene(data, camera=camera)
    return self._renderer.render()

  def _create(self) -> mujoco.Renderer:
    self._model.vis.quality.offsamples = 0
    self._model.vis.quality.shadowsize = 0
    with wrappers.rendering(self._domain):
      renderer = mujoco.Renderer(self._model, self._size, self._size)

    # Exit handlers run in reverse order: before MuJoCo's own, which closes the display.
    atexit.register(self.close)
    for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
      renderer.scene.flags[flag] = False
    return renderer

  def close(self) -> None:
    """Frees the renderer; `take` would create another one."""
    if self._renderer is not None:
      self._renderer.close()
      self._renderer = None
      atexit.unregister(self.close)
