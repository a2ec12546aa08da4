"""Scripted Jaco experts on the simulator's true state: they reach, lift, place and stack by stages."""

import enum
import itertools
from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from rlds_builders._angles import wrapped
from rlds_builders.manipulation.environment import Manipulation
from rlds_builders.manipulation.experts import arm
from rlds_builders.manipulation.experts.bricks import Brick, Grasp, Move

_FINE_GAIN = 12.0  # 1/s, of position errors over the studs
_REACH_ABOVE = 0.02  # m
_ABOVE = 0.06  # m, over a brick before and after the grasp
_FUNNEL = 0.2  # m, over a brick that is far aside
_OVER_TARGET = 0.03
_GRASP_HEIGHT = 0.01  # m, of the pinch point over the brick's bottom
_FINGERS_OFF_PINCH = 0.015  # m, the pinch point is that far from the fingers' middle, along the hand's second axis
_PRESS_SPEED = 0.08  # m/s, downwards
_CLICKED = 0.0003  # m
_STUDS = 0.005  # m, their height and a little more
_LIFTED = 0.33  # m, with _OVER_TARGET a little more than the task asks for
_PEDESTAL_RADIUS = 0.07
_LEAVE, _CLEAR = 0.25, 0.05  # m
_LOST = 0.04  # m, between brick and hand
_PATIENCE = 60  # steps a stage may take
_DESCENT_PATIENCE = 28
_PRESS_PATIENCE = 35
_RELEASE_PATIENCE = 16  # a finger that a brick holds back would never part
_SETTLED, _FALLEN = 10, 0.02  # steps after which a brick that is this many metres off has fallen
_FIST = 1.25  # rad, of closed fingers
_CLOSING_STEPS = 6  # at least
_STILL = 0.2  # rad/s, of the fingers
_OPEN, _PARTED = 0.88, 0.97  # rad: wide enough for a brick; apart enough to leave it
_OPENING_SPEED, _SQUEEZE = 0.6, 0.5  # shares of the fingers' highest velocity
_FINGER_GAIN, _EVEN = 2.0, 3.0  # such shares per radian
_SHIFTS = (0.0, 0.008, -0.008, 0.016, -0.016, 0.024, -0.024)
# Finger 1 faces 2 and 3: metres across the brick and along it.
_OPEN_FINGERS = np.array([[0.043, 0.0], [-0.043, 0.02], [-0.043, -0.02]])
_ROOM, _PALM = 0.022, 0.06  # m, from a finger's middle and from the palm's


class Stage(enum.Enum):
  """What the hand is about."""

  APPROACH = enum.auto()  # over the brick, open
  DESCEND = enum.auto()
  GRASP = enum.auto()
  LIFT = enum.auto()
  CARRY = enum.auto()  # over the target
  LOWER = enum.auto()
  RELEASE = enum.auto()
  RISE = enum.auto()  # a brick that has not clicked is pushed down with the closed fingers
  PUSH = enum.auto()
  LEAVE = enum.auto()


class Reach:
  """The pinch point goes straight to the target and stays."""

  def __init__(self, environment: Manipulation):
    self._environment = environment

  def reset(self, seed: int) -> None:
    del seed  # nothing is drawn
    physics, task = self._environment.physics, self._environment.task
    self._arm = arm.Arm(physics, task)
    self._target = lambda: np.array(physics.bind(task._target).xpos)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    error = self._target() + [0, 0, _REACH_ABOVE] - self._arm.position
    joints = self._arm.action(arm.limited(arm.GAIN * error), 0.0)
    return _action(joints, np.zeros(3))  # fingers stay as they are: they are no part of the task


class Builder:
  """Moves one brick after the other; a brick that is lost on the way is fetched again."""

  def __init__(self, environment: Manipulation, plan: Callable[[Any, Any], list[Move]]):
    self._environment, self._plan = environment, plan

  def reset(self, seed: int) -> None:
    del seed  # nothing is drawn
    physics, task = self._environment.physics, self._environment.task
    self._physics, self._task = physics, task
    self._arm = arm.Arm(physics, task)
    self._fingers = physics.bind(task.hand.joints)
    self._moves = self._plan(physics, task)
    self._index, self._stage, self._steps = 0, Stage.APPROACH, 0
    self._failed: list[Grasp] = []
    self._grasp = self._choose_grasp()

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    while self._advance():
      self._steps = 0
    self._steps += 1
    linear, turn = self._velocity()
    return _action(self._arm.action(linear, turn), self._finger_action())

  @property
  def _move(self) -> Move:
    return self._moves[self._index]

  def _choose_grasp(self) -> Grasp:
    """The one with most room for the fingers, then the nearest; failed ones last."""
    brick, obstacles = self._move.brick, self._move.obstacles()

    def cost(grasp: Grasp) -> float:
      yaw = brick.yaw + grasp.turn
      across, along = np.array([np.cos(yaw), np.sin(yaw)]), np.array([np.sin(yaw), -np.cos(yaw)])
      middle = brick.position[:2] + grasp.shift * brick.along[:2]
      fingers = middle + _OPEN_FINGERS @ np.array([across, along])
      gaps = np.linalg.norm(fingers[:, None] - obstacles[None], axis=-1)
      crowded = max(0.0, _ROOM - gaps.min(initial=_ROOM))
      if self._move.tall:
        crowded += max(0.0, _PALM - np.linalg.norm(middle - obstacles, axis=-1).min())
      turn = abs(wrapped(yaw - self._arm.yaw))
      return crowded + 0.2 * abs(grasp.shift) + 0.004 * turn + 0.02 * self._failed.count(grasp)

    return min((Grasp(shift, turn) for shift in _SHIFTS for turn in (0.0, np.pi)), key=cost)

  def _hand_error(self) -> tuple[np.ndarray, float]:
    """How far the pinch point [3] and the hand's yaw are from the grasp."""
    brick, grasp = self._move.brick, self._grasp
    middle = brick.position + grasp.shift * brick.along
    position = middle + _FINGERS_OFF_PINCH * self._arm.rotation[:, 1] + [0, 0, _GRASP_HEIGHT]
    return position - self._arm.position, wrapped(brick.yaw + grasp.turn - self._arm.yaw)

  def _brick_error(self) -> tuple[np.ndarray, float]:
    position, yaw = self._move.target()
    return position - self._move.brick.position, wrapped(yaw - self._move.brick.yaw, np.pi)

  def _velocity(self) -> tuple[np.ndarray, float]:
    """m/s [3] and rad/s."""
    match self._stage:
      case Stage.APPROACH:
        error, turn = self._hand_error()
        funnel = min(_ABOVE + 2 * max(0.0, np.linalg.norm(error[:2]) - 0.02), _FUNNEL)
        return arm.limited(arm.GAIN * (error + [0, 0, funnel])), arm.GAIN * turn
      case Stage.DESCEND:
        error, turn = self._hand_error()
        return arm.limited(arm.GAIN * error), arm.GAIN * turn
      case Stage.GRASP | Stage.RELEASE:
        return arm.limited(arm.GAIN * (self._hold - self._arm.position)), 0.0
      case Stage.LIFT:
        error, turn = self._brick_error()
        lifted = self._arm.position[2] - self._hold[2] > _CLEAR
        aside = self._hold - self._arm.position
        return arm.limited(arm.GAIN * np.array([*aside[:2], error[2] + _OVER_TARGET + 0.02])), arm.GAIN * turn * lifted
      case Stage.CARRY:
        error, turn = self._brick_error()
        return arm.limited(arm.GAIN * (error + [0, 0, _OVER_TARGET])), arm.GAIN * turn
      case Stage.LOWER:
        error, turn = self._brick_error()
        if error[2] < -_STUDS and not self._fits(error, turn):
          down = arm.GAIN * (error[2] + _STUDS + 0.003)  # over the studs
        else:
          down = -_PRESS_SPEED if self._move.press else arm.GAIN * (error[2] + self._move.drop) - 0.01
        return arm.limited(np.array([*(_FINE_GAIN * error[:2]), down])), arm.GAIN * turn
      case Stage.RISE:
        error, turn = self._hand_error()
        return arm.limited(arm.GAIN * (error + [0, 0, _ABOVE])), 0.0
      case Stage.PUSH:
        error, turn = self._hand_error()
        return arm.limited(np.array([*(arm.GAIN * error[:2]), -_PRESS_SPEED])), 0.0
      case Stage.LEAVE:
        return arm.limited(arm.GAIN * (self._hold + [0, 0, _LEAVE] - self._arm.position)), 0.0

  def _finger_action(self) -> np.ndarray:
    """Finger 1 faces 2 and 3, which would push it away: they hold back while they are ahead of it."""
    angle = np.array(self._fingers.qpos)
    if self._stage in (Stage.APPROACH, Stage.DESCEND, Stage.RELEASE, Stage.LEAVE):
      return np.clip(_FINGER_GAIN * (_OPEN - angle), -_OPENING_SPEED, _OPENING_SPEED)
    if self._stage in (Stage.RISE, Stage.PUSH):
      return np.full(3, _SQUEEZE)
    lead = angle[1:].mean() - angle[0]
    return np.array([_SQUEEZE, *np.full(2, _SQUEEZE - _EVEN * max(lead, 0.0))])

  def _advance(self) -> bool:
    """Moves on to the next stage where it is time to; returns whether it did."""
    late = self._steps > _PATIENCE
    hand, hand_turn = self._hand_error()
    brick, brick_turn = self._brick_error()
    match self._stage:
      case Stage.APPROACH:
        if late or (np.linalg.norm(hand[:2]) < 0.01 and abs(hand_turn) < 0.2 and abs(hand[2] + _ABOVE) < 0.03):
          return self._go(Stage.DESCEND)
      case Stage.DESCEND:
        if np.linalg.norm(hand) < 0.005 or self._steps > _DESCENT_PATIENCE:  # something in the way may stop it short
          return self._go(Stage.GRASP)
      case Stage.GRASP:
        closing = np.abs(self._fingers.qvel).max() > _STILL
        if self._steps > _CLOSING_STEPS and not closing or late:
          return self._go(Stage.LIFT)
      case Stage.LIFT | Stage.CARRY | Stage.LOWER if np.linalg.norm(hand) > _LOST:
        self._failed.append(self._grasp)
        return self._begin()
      case Stage.LIFT:
        if brick[2] + _OVER_TARGET < 0.01 or late:
          return self._go(Stage.CARRY)
      case Stage.CARRY:
        if self._move.hold:
          return False
        over = np.linalg.norm(brick[:2]) < 0.005 and abs(brick[2] + _OVER_TARGET) < 0.02 and abs(brick_turn) < 0.1
        if over or late:
          return self._go(Stage.LOWER)
      case Stage.LOWER:
        if brick[2] + self._move.drop > -_CLICKED:
          return self._go(Stage.RELEASE)
        if self._steps > _PRESS_PATIENCE:  # jammed on the studs, or askew above them
          return self._go(Stage.RELEASE if brick[2] > -_STUDS else Stage.LIFT)
      case Stage.RELEASE:
        if np.max(self._fingers.qpos) < _PARTED or self._steps > _RELEASE_PATIENCE:
          jammed = self._move.press and -_STUDS < brick[2] < -_CLICKED
          return self._go(Stage.RISE if jammed else Stage.LEAVE)
      case Stage.RISE:
        closed = np.min(self._fingers.qpos) > _FIST
        if closed and np.linalg.norm(hand[:2]) < 0.005 and abs(hand[2] + _ABOVE) < 0.02 or late:
          return self._go(Stage.PUSH)
      case Stage.PUSH:
        if brick[2] > -_CLICKED or late:
          return self._go(Stage.LEAVE)
      case Stage.LEAVE:
        if self._steps > _SETTLED and np.linalg.norm(brick) > _FALLEN:
          self._failed.append(self._grasp)
          return self._begin()
        if self._index + 1 < len(self._moves) and self._arm.position[2] - self._hold[2] > _CLEAR:
          self._index += 1
          self._failed = []
          return self._begin()
    return False

  @staticmethod
  def _fits(error: np.ndarray, turn: float) -> bool:
    return bool(np.linalg.norm(error[:2]) < 0.001 and abs(turn) < 0.02)

  def _begin(self) -> bool:
    self._grasp = self._choose_grasp()
    return self._go(Stage.APPROACH)

  def _go(self, stage: Stage) -> bool:
    self._stage = stage
    self._hold = self._arm.position
    return True


def _action(joints: np.ndarray, fingers: np.ndarray) -> np.ndarray:
  return np.clip(np.concatenate([joints, fingers]), -1, 1).astype(np.float32)


def _nothing() -> np.ndarray:
  return np.zeros((0, 2))


def _lift(physics, task) -> list[Move]:
  brick = Brick(physics, task._prop)
  start = brick.position
  return [Move(brick, lambda: (start + [0, 0, _LIFTED], brick.yaw), _nothing, hold=True)]


def _place(physics, task) -> list[Move]:
  brick, site = Brick(physics, task._prop), physics.bind(task._pedestal.target_site)
  angles = np.linspace(0, 2 * np.pi, 48)
  circle = _PEDESTAL_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)

  def target() -> tuple[np.ndarray, float]:
    return np.array(site.xpos) + [0, 0, Brick.HEIGHT], 0.0

  return [Move(brick, target, lambda: site.xpos[:2] + circle, tall=True, press=False, drop=0.008)]


def _stack(physics, task) -> list[Move]:
  bricks = [Brick(physics, entity) for entity in task._bricks]
  order = [bricks[i] for i in task._desired_order]

  def move(top: Brick, base: Brick) -> Move:
    return Move(
      top,
      lambda: (base.position + [0, 0, Brick.HEIGHT], base.yaw),
      lambda: np.concatenate([brick.outline() for brick in bricks if brick is not top]),
    )

  return [move(top, base) for base, top in itertools.pairwise(order)]


def make(environment: Manipulation, task: str) -> Reach | Builder:
  """The expert of a task of DOMAIN.tasks."""
  if task.startswith("reach"):
    return Reach(environment)
  plan = _stack if "bricks" in task else _place if task.startswith("place") else _lift
  return Builder(environment, plan)
