"""Velocities of the Jaco's joints that move its hand, by damped least squares."""

import mujoco
import numpy as np

from rlds_builders import _angles

GAIN = 8.0  # 1/s, of position and angle errors
_DAMPING = 0.05
_FASTEST = 0.5  # m/s
_FASTEST_TURN = 0.83  # rad/s
_DOWN = np.array([0.0, 0.0, -1.0])


class Arm:
  """The Jaco's kinematics: where the hand is, and the joint velocities that move it."""

  def __init__(self, physics, task):
    self.model, self.data = physics.model.ptr, physics.data.ptr
    self._site = physics.bind(task.hand.pinch_site).element_id
    self._dofs = np.array(physics.bind(task.arm.joints).dofadr)
    limits = physics.bind(task.arm.actuators).ctrlrange
    self._fastest = np.array(limits)[:, 1]

  @property
  def position(self) -> np.ndarray:
    """[3], the pinch point in metres."""
    return self.data.site_xpos[self._site].copy()

  @property
  def rotation(self) -> np.ndarray:
    """[3, 3]; the first axis is the fingers' closing direction, the third points out of the hand."""
    return self.data.site_xmat[self._site].reshape(3, 3).copy()

  @property
  def yaw(self) -> float:
    """rad, of the closing direction about the vertical."""
    return _angles.yaw(self.rotation)

  def action(self, linear: np.ndarray, yaw_rate: float) -> np.ndarray:
    """[6] in [-1, 1]: the pinch point moves at `linear` m/s, the hand turns about the vertical and points down."""
    position, rotation = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
    mujoco.mj_jacSite(self.model, self.data, position, rotation, self._site)
    jacobian = np.concatenate([position, rotation])[:, self._dofs]
    tilt = GAIN * np.cross(self.rotation[:, 2], _DOWN)
    tilt[2] = 0.0
    turn = np.clip(yaw_rate, -_FASTEST_TURN, _FASTEST_TURN)  # as fast as the last joint can without slowing the rest
    twist = np.concatenate([linear, tilt + [0, 0, turn]])
    square = jacobian @ jacobian.T + _DAMPING**2 * np.diag([1, 1, 1, 0.1, 0.1, 0.1])
    velocity = jacobian.T @ np.linalg.solve(square, twist) / self._fastest
    return velocity / max(1.0, np.abs(velocity).max())


def limited(velocity: np.ndarray) -> np.ndarray:
  """m/s [3], no faster than the hand should go."""
  return velocity / max(1.0, np.linalg.norm(velocity) / _FASTEST)
