"""Scripted stacking from the simulator's true state: a grasp from the objects' shapes, a place tried out in simulation.

One attempt goes through the stages below; losing the object or missing blue starts the next attempt.
"""

import enum

import dm_env
import numpy as np

from rlds_builders import _angles
from rlds_builders.rgb_stacking import assembly
from rlds_builders.rgb_stacking.environment import RgbStacking
from rlds_builders.rgb_stacking.experts import placing

_GAIN = 4.0  # 1/s, of the position error
_ARRIVED = (0.006, 0.06)  # m, rad
_CLOSE, _OPEN = 1.0, -1.0
_PATIENCE = 90  # steps a stage may take
_CLOSING_STEPS = 6  # before the fingers can hold anything
_FULLY_CLOSED = 252  # of 255: nothing is between the fingers
_PARTED = 60  # of 255, how far the fingers open to let go
_CLEARANCE = 0.015  # m, over the objects
_FALLEN_STEPS = 10  # contacts flicker: this long without success, red does not stand on blue


class Stage(enum.Enum):
  """Of one attempt, in their order."""

  APPROACH = enum.auto()  # over red, open
  DESCEND = enum.auto()
  GRASP = enum.auto()
  LIFT = enum.auto()
  CARRY = enum.auto()  # over blue
  LOWER = enum.auto()
  RELEASE = enum.auto()
  LEAVE = enum.auto()  # straight up, then stay


class Stacker:
  """Stages with straight lines between them; the path depends on the state, the stage alone is remembered."""

  def __init__(self, environment: RgbStacking):
    self._environment = environment

  def reset(self, seed: int) -> None:
    del seed  # nothing is drawn
    self._failed: list[placing.Target] = []
    self._begin()

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    self._scene = self._environment.scene
    while self._advance():
      self._steps = 0
    self._steps += 1
    gripper = _CLOSE if Stage.GRASP.value <= self._stage.value <= Stage.LOWER.value else _OPEN
    position, yaw = self._target()
    linear = _GAIN * (position - self._scene.pinch)
    angular = _GAIN * _angles.wrapped(yaw - _angles.yaw(self._scene.pinch_rotation))
    velocity = np.array([*linear, angular]) / assembly.MAX_VELOCITY
    velocity[:3] /= max(1.0, np.abs(velocity[:3]).max())  # a straight line, at most at full speed
    return np.clip([*velocity, gripper], -1, 1).astype(np.float32)

  def _begin(self) -> None:
    self._stage, self._steps, self._grasp, self._place = Stage.APPROACH, 0, None, None
    self._still, self._unstacked = 0, 0

  def _go(self, stage: Stage) -> bool:
    self._stage = stage
    return True

  def _target(self) -> tuple[np.ndarray, float]:
    """Where the pinch point should be [3], and the gripper's angle about the vertical."""
    grasp, place = self._grasp, self._place
    match self._stage:
      case Stage.APPROACH:
        return np.array([*grasp.position[:2], self._approach_height]), grasp.yaw
      case Stage.DESCEND | Stage.GRASP:
        return grasp.position, grasp.yaw
      case Stage.LIFT:
        return np.array([*grasp.position[:2], self._carry_height]), grasp.yaw
      case Stage.CARRY:
        return np.array([*place.position[:2], self._carry_height]), place.yaw
      case Stage.LOWER:
        return place.position - [0, 0, 0.01], place.yaw  # until it touches
      case Stage.RELEASE:
        return self._hold, place.yaw
      case Stage.LEAVE:
        return self._hold + [0, 0, 0.1], place.yaw

  def _arrived(self) -> bool:
    position, yaw = self._target()
    near = np.linalg.norm(position - self._scene.pinch) < _ARRIVED[0]
    return bool(near and abs(_angles.wrapped(yaw - _angles.yaw(self._scene.pinch_rotation))) < _ARRIVED[1])

  def _advance(self) -> bool:
    """Moves on to the next stage where it is time to; returns whether it did."""
    late = self._steps > _PATIENCE
    match self._stage:
      case Stage.APPROACH:
        if self._grasp is None:
          self._grasp = placing.grasp(self._environment, self._failed)
          self._approach_height = placing.approach_height(self._environment, _CLEARANCE)
        if self._arrived() or late:
          self._grasp = placing.grasp(self._environment, self._failed)  # red may have rolled on
          return self._go(Stage.DESCEND)
      case Stage.DESCEND:
        if self._arrived() or late:
          return self._go(Stage.GRASP)
      case Stage.GRASP:
        if self._fingers_rest() and self._steps >= _CLOSING_STEPS:
          if self._scene.gripper_angle > _FULLY_CLOSED:
            return self._restart()
          self._carry_height = placing.carry_height(self._environment, _CLEARANCE)
          return self._go(Stage.LIFT)
      case Stage.LIFT | Stage.CARRY | Stage.LOWER if self._lost():
        return self._restart()
      case Stage.LIFT:
        if self._arrived() or late:
          self._place = placing.place(self._environment)
          return self._go(Stage.CARRY)
      case Stage.CARRY:
        if self._arrived() or late:
          return self._go(Stage.LOWER)
      case Stage.LOWER:
        if "blue" in self._scene.touched_by("red") or self._arrived() or late:
          self._hold = self._scene.pinch
          return self._go(Stage.RELEASE)
      case Stage.RELEASE:
        if self._scene.gripper_angle < _PARTED and "robot" not in self._scene.touched_by("red"):
          return self._go(Stage.LEAVE)
      case Stage.LEAVE:
        self._unstacked = 0 if self._environment.episode_info()["success"] else self._unstacked + 1
        if self._unstacked >= _FALLEN_STEPS:
          return self._restart()
    return False

  def _fingers_rest(self) -> bool:
    """The fingers have not moved for three steps."""
    angle = self._scene.gripper_angle
    self._still = self._still + 1 if self._steps and abs(angle - self._angle) <= 1 else 0
    self._angle = angle
    return self._still >= 3

  def _lost(self) -> bool:
    return self._steps > 5 and "robot" not in self._scene.touched_by("red")

  def _restart(self) -> bool:
    self._failed.append(self._grasp)
    self._begin()
    return True


def make(environment: RgbStacking, task: str) -> Stacker:
  """The same for every triplet: shapes are read from the simulator."""
  del task
  return Stacker(environment)
