"""Poses of the gripper inside the workspace."""

import dataclasses

import numpy as np

from rlds_builders.rgb_stacking import assembly

YAW_CENTRE = -0.3  # rad, the middle of the wrist's range


@dataclasses.dataclass(frozen=True)
class Target:
  """A pose of the pinch point.

  Attributes:
    position: Metres in the world's frame, [3].
    yaw: Angle about the vertical, in radians.
  """

  position: np.ndarray
  yaw: float


def inside(position: np.ndarray) -> np.ndarray:
  """Returns the nearest position [3] inside the workspace."""
  # The controller stops a little before the limits.
  half = assembly.WORKSPACE_SIZE / 2 - 0.001
  return np.clip(position, assembly.WORKSPACE_CENTRE - half, assembly.WORKSPACE_CENTRE + half)
