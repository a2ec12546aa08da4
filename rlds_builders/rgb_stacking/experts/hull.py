"""Convex hulls of the objects."""

import mujoco
import numpy as np
from scipy import spatial

from rlds_builders.rgb_stacking import assembly, rewards
from rlds_builders.rgb_stacking.environment import RgbStacking

_PARALLEL = 1e-9  # cosine of a line and a normal, below which the line never meets the face


class Hull:
  """An object's convex hull, in the world's frame.

  Attributes:
    corners: Corners, [N, 3].
    centre: Origin of the object's mesh, [3].
  """

  def __init__(self, scene: rewards.Scene, model: mujoco.MjModel, data: mujoco.MjData, colour: str):
    geom = scene.geom(colour)
    mesh = model.geom_dataid[geom]
    start = model.mesh_vertadr[mesh]
    corners = model.mesh_vert[start : start + model.mesh_vertnum[mesh]]

    self.corners = corners @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
    self.centre = data.geom_xpos[geom].copy()

    # The hull is where normals [F, 3] @ x <= offsets [F] for all F faces.
    equations = spatial.ConvexHull(self.corners).equations
    self._normals, self._offsets = equations[:, :3], -equations[:, 3]

  def chords(
    self, points: np.ndarray, direction: np.ndarray
  ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Intersects parallel lines with the hull.

    Args:
      points: One point of each line, [P, 3].
      direction: The lines' direction, [3].

    Returns:
      Distances from the points at which lines enter and leave, [P] and [P], NaN for lines that
      miss the hull, and normals of the faces that they enter and leave by, [2, P, 3].
    """
    # A line crosses the plane of face f at room / rate: it leaves the half-space if rate > 0 and
    # enters it if rate < 0. In the hull it has entered all half-spaces and left none.
    rate_F = self._normals @ direction
    room_PxF = self._offsets - points @ self._normals.T
    with np.errstate(divide="ignore"):
      crossing_PxF = room_PxF / rate_F

    leave_PxF = np.where(rate_F > _PARALLEL, crossing_PxF, np.inf)
    enter_PxF = np.where(rate_F < -_PARALLEL, crossing_PxF, -np.inf)
    first, last = enter_PxF.max(axis=1), leave_PxF.min(axis=1)

    # A line along a face that is outside of it misses the hull too.
    is_parallel_F = np.abs(rate_F) <= _PARALLEL
    misses = (first > last) | np.any(is_parallel_F & (room_PxF < 0), axis=1)

    normals = np.stack(
      [self._normals[enter_PxF.argmax(axis=1)], self._normals[leave_PxF.argmin(axis=1)]]
    )
    return np.where(misses, np.nan, first), np.where(misses, np.nan, last), normals


def hulls(environment: RgbStacking) -> dict[str, Hull]:
  """Returns the hulls of all objects by their colour."""
  model, data = environment.physics.model.ptr, environment.physics.data.ptr
  return {colour: Hull(environment.scene, model, data, colour) for colour in assembly.COLOURS}
