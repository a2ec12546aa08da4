"""Scripted stacking from the true state: a grasp from the objects' shapes, a simulated placement.

An attempt goes through the stages below; after losing red or missing blue the next attempt begins.
"""

import enum

import dm_env
import numpy as np

from rlds_builders.rgb_stacking import assembly
from rlds_builders.rgb_stacking.environment import RgbStacking
from rlds_builders.rgb_stacking.experts import grasping, placing
from rlds_builders.rgb_stacking.experts.targets import Target
from rlds_builders.worlds import radians

_GAIN = 4.0  # 1/s, of position and angle errors

# Errors at which a target counts as reached.
_ARRIVED_DISTANCE = 0.006  # m
_ARRIVED_ANGLE = 0.06  # rad

_CLOSE, _OPEN = 1.0, -1.0  # actions of the gripper

# Angles of the gripper, of 255.
_FULLY_CLOSED = 252  # nothing is between the fingers
_PARTED = 60  # red is released

_CLEARANCE = 0.015  # m, over the objects

# Numbers of steps.
_PATIENCE = 90  # that a stage may take
_CLOSING_STEPS = 6  # before the fingers can hold anything
_LIFTING_STEPS = 5  # before losing contact with red counts
_STILL_STEPS = 3  # after which the fingers rest
_FALLEN_STEPS = 10  # without success, after which red has fallen: contacts flicker


class Stage(enum.Enum):
  """Stages of an attempt, in their order."""

  APPROACH = enum.auto()  # over red, open
  DESCEND = enum.auto()
  GRASP = enum.auto()
  LIFT = enum.auto()
  CARRY = enum.auto()  # over blue
  LOWER = enum.auto()
  RELEASE = enum.auto()
  LEAVE = enum.auto()  # straight up, then stay


class Stacker:
  """Moves on straight lines between the stages; the stage is all it remembers of the path."""

  _angle: float  # of the gripper, one step ago

  def __init__(self, environment: RgbStacking):
    self._environment = environment

  def reset(self, seed: int) -> None:
    del seed  # nothing is drawn
    self._failed: list[Target] = []
    self._begin()

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # reads the true state

    self._scene = self._environment.scene
    while self._advance():
      self._steps = 0
    self._steps += 1

    position, yaw = self._target()
    linear = _GAIN * (position - self._scene.pinch)
    angular = _GAIN * radians.wrapped(yaw - radians.yaw(self._scene.pinch_rotation))
    velocity = np.array([*linear, angular]) / assembly.MAX_VELOCITY

    # The three axes slow down together, so that the line is straight.
    velocity[:3] /= max(1.0, np.abs(velocity[:3]).max())

    is_holding = Stage.GRASP.value <= self._stage.value <= Stage.LOWER.value
    gripper = _CLOSE if is_holding else _OPEN
    return np.clip([*velocity, gripper], -1, 1).astype(np.float32)

  def _begin(self) -> None:
    """Begins an attempt."""
    self._stage = Stage.APPROACH
    self._steps = 0
    self._grasp: Target | None = None
    self._place: Target | None = None

    # Successive steps in which the fingers rested, and in which red did not stand on blue.
    self._still = 0
    self._unstacked = 0

  def _restart(self) -> bool:
    """Begins another attempt, with another grasp."""
    assert self._grasp is not None
    self._failed.append(self._grasp)
    self._begin()
    return True

  def _go(self, stage: Stage) -> bool:
    self._stage = stage
    return True

  def _target(self) -> tuple[np.ndarray, float]:
    """Returns the target of the pinch point, [3], and of its angle about the vertical."""
    grasp, place = self._grasp, self._place
    assert grasp is not None

    match self._stage:
      case Stage.APPROACH:
        return np.array([*grasp.position[:2], self._approach_height]), grasp.yaw
      case Stage.DESCEND | Stage.GRASP:
        return grasp.position, grasp.yaw
      case Stage.LIFT:
        return np.array([*grasp.position[:2], self._carry_height]), grasp.yaw

    assert place is not None
    match self._stage:
      case Stage.CARRY:
        return np.array([*place.position[:2], self._carry_height]), place.yaw
      case Stage.LOWER:
        # A little lower than planned, until red touches blue.
        return place.position - [0, 0, 0.01], place.yaw
      case Stage.RELEASE:
        return self._release_position, place.yaw
      case _:
        return self._release_position + [0, 0, 0.1], place.yaw

  def _arrived(self) -> bool:
    position, yaw = self._target()
    is_near = np.linalg.norm(position - self._scene.pinch) < _ARRIVED_DISTANCE
    turn = float(radians.wrapped(yaw - radians.yaw(self._scene.pinch_rotation)))

    return bool(is_near and abs(turn) < _ARRIVED_ANGLE)

  def _advance(self) -> bool:
    """Moves on to the next stage if it is time to; returns True when it did."""
    late = self._steps > _PATIENCE

    match self._stage:
      case Stage.APPROACH:
        if self._grasp is None:
          self._grasp = grasping.grasp(self._environment, self._failed)
          self._approach_height = grasping.approach_height(self._environment, _CLEARANCE)

        # Red may have rolled on since, so the grasp is chosen anew.
        if self._arrived() or late:
          self._grasp = grasping.grasp(self._environment, self._failed)
          return self._go(Stage.DESCEND)

      case Stage.DESCEND:
        if self._arrived() or late:
          return self._go(Stage.GRASP)

      case Stage.GRASP:
        # _fingers_rest() counts steps, so it is called at every one.
        if self._fingers_rest() and self._steps >= _CLOSING_STEPS:
          if self._scene.gripper_angle > _FULLY_CLOSED:
            return self._restart()

          self._carry_height = grasping.carry_height(self._environment, _CLEARANCE)
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
          self._release_position = self._scene.pinch
          return self._go(Stage.RELEASE)

      case Stage.RELEASE:
        is_open = self._scene.gripper_angle < _PARTED
        if is_open and "robot" not in self._scene.touched_by("red"):
          return self._go(Stage.LEAVE)

      case Stage.LEAVE:
        is_stacked = self._environment.episode_info()["success"]
        self._unstacked = 0 if is_stacked else self._unstacked + 1
        if self._unstacked >= _FALLEN_STEPS:
          return self._restart()

    return False

  def _fingers_rest(self) -> bool:
    """True when the fingers have not moved for three steps."""
    angle = self._scene.gripper_angle

    # The angle of the step before is known from the second step on.
    if self._steps and abs(angle - self._angle) <= 1:
      self._still += 1
    else:
      self._still = 0
    self._angle = angle

    return self._still >= _STILL_STEPS

  def _lost(self) -> bool:
    return self._steps > _LIFTING_STEPS and "robot" not in self._scene.touched_by("red")


def make(environment: RgbStacking, task: str) -> Stacker:
  """Returns the expert, which is the same for all objects: it reads their shapes."""
  del task
  return Stacker(environment)
