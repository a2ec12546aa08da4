"""Velocities of the Jaco's joints that move its hand, by damped least squares."""

from typing import Any

import mujoco
import numpy as np

from rlds_builders.worlds import radians

GAIN = 8.0  # 1/s, of position and angle errors
_MAX_SPEED = 0.5  # m/s

# rad/s about the vertical; as fast as the last joint can turn without slowing the others.
_MAX_TURN_SPEED = 0.83

_DAMPING = 0.05
_DOWN = np.array([0.0, 0.0, -1.0])


class Arm:
  """The Jaco's kinematics: the pose of the hand, and the joint velocities that move it."""

  def __init__(self, physics: Any, task: Any):
    self.model, self.data = physics.model.ptr, physics.data.ptr
    self._site = physics.bind(task.hand.pinch_site).element_id
    self._dofs = np.array(physics.bind(task.arm.joints).dofadr)

    limits = physics.bind(task.arm.actuators).ctrlrange
    self._max_velocity = np.array(limits)[:, 1]

  @property
  def position(self) -> np.ndarray:
    """The pinch point in metres, [3]."""
    return self.data.site_xpos[self._site].copy()

  @property
  def rotation(self) -> np.ndarray:
    """The hand's rotation, [3, 3].

    The first axis is the closing direction of the fingers, the third points out of the hand.
    """
    return self.data.site_xmat[self._site].reshape(3, 3).copy()

  @property
  def yaw(self) -> float:
    """Angle of the closing direction about the vertical, in radians."""
    return radians.yaw(self.rotation)

  def action(self, linear: np.ndarray, yaw_rate: float) -> np.ndarray:
    """Returns the joint velocities that move the hand, while it keeps pointing down.

    Args:
      linear: Velocity of the pinch point in m/s, [3].
      yaw_rate: Angular velocity about the vertical in rad/s.

    Returns:
      Shares of each joint's highest velocity, [6] in [-1, 1].
    """
    position_jacobian = np.zeros((3, self.model.nv))
    rotation_jacobian = np.zeros((3, self.model.nv))
    mujoco.mj_jacSite(self.model, self.data, position_jacobian, rotation_jacobian, self._site)
    jacobian = np.concatenate([position_jacobian, rotation_jacobian])[:, self._dofs]

    # Rotates the hand's axis towards the vertical; the turn about the vertical is added.
    tilt = GAIN * np.cross(self.rotation[:, 2], _DOWN)
    tilt[2] = 0.0
    turn = np.clip(yaw_rate, -_MAX_TURN_SPEED, _MAX_TURN_SPEED)
    twist = np.concatenate([linear, tilt + [0, 0, turn]])

    # Damped least squares; errors of rotation count less than errors of position.
    damping = _DAMPING**2 * np.diag([1, 1, 1, 0.1, 0.1, 0.1])
    velocity = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + damping, twist)
    velocity = velocity / self._max_velocity

    # All joints slow down together, so that the direction stays.
    return velocity / max(1.0, np.abs(velocity).max())


def limited(velocity: np.ndarray) -> np.ndarray:
  """Returns a velocity [3] in m/s, slowed down to what the hand should not exceed."""
  return velocity / max(1.0, np.linalg.norm(velocity) / _MAX_SPEED)
