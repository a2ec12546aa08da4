"""Scripted Jaco experts on the simulator's true state: they reach, lift, place and stack."""

import enum
from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np

from rlds_builders.manipulation.environment import Manipulation
from rlds_builders.manipulation.experts import arm, moves
from rlds_builders.manipulation.experts.bricks import Grasp, Move
from rlds_builders.manipulation.experts.moves import OVER_TARGET
from rlds_builders.worlds.radians import wrapped

# Positions of the hand, in metres.
_REACH_ABOVE = 0.02  # over the target of the reaching tasks
_ABOVE = 0.06  # over a brick before and after the grasp
_FUNNEL = 0.2  # over a brick that is far aside
_GRASP_HEIGHT = 0.01  # of the pinch point over the brick's bottom
_LEAVE = 0.25  # upwards, after a release
_CLEAR = 0.05  # upwards, until which the hand neither turns nor begins the next move

# Metres from the middle of the fingers to the pinch point, along the hand's second axis.
_FINGERS_OFF_PINCH = 0.015

# Pressing a brick onto studs.
_FINE_GAIN = 12.0  # 1/s, of position errors over the studs
_PRESS_SPEED = 0.08  # m/s, downwards
_CLICKED = 0.0003  # m, above which the brick is not on yet
_STUDS = 0.005  # m, their height and a little more

# Errors after which a brick is fetched again.
_LOST = 0.04  # m, between brick and hand
_FALLEN = 0.02  # m, between brick and target
_SETTLED = 10  # steps after which a brick that is off its target has fallen

# Steps that a stage may take. A finger that a brick holds back would never part.
_PATIENCE = 60
_DESCENT_PATIENCE = 28
_PRESS_PATIENCE = 35
_RELEASE_PATIENCE = 16

# Angles of the fingers, in radians.
_OPEN = 0.88  # wide enough for a brick
_PARTED = 0.97  # apart enough to leave a brick
_FIST = 1.25  # closed

# Velocities of the fingers, as shares of the highest one.
_OPENING_SPEED = 0.6
_SQUEEZE = 0.5
_FINGER_GAIN = 2.0  # per radian
_EVEN_GAIN = 3.0  # per radian between the fingers

_CLOSING_STEPS = 6  # least steps of closing
_STILL = 0.2  # rad/s, below which the fingers have closed

# Candidate grasps, in metres along the brick.
_SHIFTS = (0.0, 0.008, -0.008, 0.016, -0.016, 0.024, -0.024)

# Positions of the open fingers, in metres across the brick and along it: 1 faces 2 and 3.
_OPEN_FINGERS = np.array([[0.043, 0.0], [-0.043, 0.02], [-0.043, -0.02]])

# Metres that obstacles should keep from the middle of a finger, and of the palm.
_FINGER_ROOM = 0.022
_PALM_ROOM = 0.06


class Stage(enum.Enum):
  """Stages of a move, in their order."""

  APPROACH = enum.auto()  # over the brick, open
  DESCEND = enum.auto()
  GRASP = enum.auto()
  LIFT = enum.auto()
  CARRY = enum.auto()  # over the target
  LOWER = enum.auto()
  RELEASE = enum.auto()

  # A brick that has not clicked is pushed down with the closed fingers.
  RISE = enum.auto()
  PUSH = enum.auto()

  LEAVE = enum.auto()


class Reach:
  """Moves the pinch point straight to the target and stays there."""

  def __init__(self, environment: Manipulation):
    self._environment = environment

  def reset(self, seed: int) -> None:
    del seed  # nothing is drawn
    physics, task = self._environment.physics, self._environment.task
    self._arm = arm.Arm(physics, task)
    self._target = lambda: np.array(physics.bind(task._target).xpos)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # reads the physics state

    error = self._target() + [0, 0, _REACH_ABOVE] - self._arm.position
    joints = self._arm.action(arm.limited(arm.GAIN * error), yaw_rate=0.0)

    # The fingers are no part of the task and stay as they are.
    return _action(joints, np.zeros(3))


class Builder:
  """Moves one brick after the other; a brick that is lost on the way is fetched again."""

  def __init__(self, environment: Manipulation, plan: Callable[[Any, Any], list[Move]]):
    """Initialises the expert.

    Args:
      environment: The environment.
      plan: Returns the moves of an episode, from its physics and task.
    """
    self._environment = environment
    self._plan = plan

  def reset(self, seed: int) -> None:
    del seed  # nothing is drawn
    physics, task = self._environment.physics, self._environment.task
    self._arm = arm.Arm(physics, task)
    self._fingers = physics.bind(task.hand.joints)

    self._moves = self._plan(physics, task)
    self._index = 0
    self._stage = Stage.APPROACH
    self._steps = 0  # in this stage

    self._failed: list[Grasp] = []
    self._grasp = self._choose_grasp()

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # reads the physics state

    while self._advance():
      self._steps = 0
    self._steps += 1

    linear, turn = self._velocity()
    return _action(self._arm.action(linear, yaw_rate=turn), self._finger_action())

  @property
  def _move(self) -> Move:
    return self._moves[self._index]

  def _choose_grasp(self) -> Grasp:
    """Returns the grasp with most room for the fingers, then the nearest; failed ones last."""
    brick, obstacles = self._move.brick, self._move.obstacles()

    def cost(grasp: Grasp) -> float:
      yaw = brick.yaw + grasp.turn
      across = np.array([np.cos(yaw), np.sin(yaw)])
      along = np.array([np.sin(yaw), -np.cos(yaw)])
      middle = brick.position[:2] + grasp.shift * brick.along[:2]

      fingers = middle + _OPEN_FINGERS @ np.array([across, along])
      gaps = np.linalg.norm(fingers[:, None] - obstacles[None], axis=-1)
      crowded = max(0.0, _FINGER_ROOM - gaps.min(initial=_FINGER_ROOM))
      if self._move.tall:
        palm_gap = np.linalg.norm(middle - obstacles, axis=-1).min()
        crowded += max(0.0, _PALM_ROOM - palm_gap)

      turn = abs(float(wrapped(yaw - self._arm.yaw)))
      failures = self._failed.count(grasp)
      return crowded + 0.2 * abs(grasp.shift) + 0.004 * turn + 0.02 * failures

    return min((Grasp(shift, turn) for shift in _SHIFTS for turn in (0.0, np.pi)), key=cost)

  def _hand_error(self) -> tuple[np.ndarray, float]:
    """Returns the vector [3] from the pinch point to the grasp, and the hand's error of yaw."""
    brick, grasp = self._move.brick, self._grasp
    middle = brick.position + grasp.shift * brick.along
    position = middle + _FINGERS_OFF_PINCH * self._arm.rotation[:, 1] + [0, 0, _GRASP_HEIGHT]
    turn = wrapped(brick.yaw + grasp.turn - self._arm.yaw)
    return position - self._arm.position, float(turn)

  def _brick_error(self) -> tuple[np.ndarray, float]:
    """Returns the vector [3] from the brick to its target, and the brick's error of yaw."""
    position, yaw = self._move.target()

    # A brick looks the same from both ends, hence the period of pi.
    turn = wrapped(yaw - self._move.brick.yaw, period=np.pi)
    return position - self._move.brick.position, float(turn)

  def _velocity(self) -> tuple[np.ndarray, float]:
    """Returns the hand's velocity in m/s, [3], and its angular velocity in rad/s."""
    match self._stage:
      case Stage.APPROACH:
        # The farther aside the hand is, the higher it stays.
        error, turn = self._hand_error()
        aside = float(np.linalg.norm(error[:2]))
        funnel = min(_ABOVE + 2 * max(0.0, aside - 0.02), _FUNNEL)
        return arm.limited(arm.GAIN * (error + [0, 0, funnel])), arm.GAIN * turn

      case Stage.DESCEND:
        error, turn = self._hand_error()
        return arm.limited(arm.GAIN * error), arm.GAIN * turn

      case Stage.GRASP | Stage.RELEASE:
        return arm.limited(arm.GAIN * (self._stage_start - self._arm.position)), 0.0

      case Stage.LIFT:
        # Straight up; the hand turns once the brick is clear of its neighbours.
        error, turn = self._brick_error()
        is_lifted = self._arm.position[2] - self._stage_start[2] > _CLEAR
        sideways = (self._stage_start - self._arm.position)[:2]
        up = error[2] + OVER_TARGET + 0.02
        linear = arm.limited(arm.GAIN * np.array([*sideways, up]))
        return linear, arm.GAIN * turn * is_lifted

      case Stage.CARRY:
        error, turn = self._brick_error()
        return arm.limited(arm.GAIN * (error + [0, 0, OVER_TARGET])), arm.GAIN * turn

      case Stage.LOWER:
        error, turn = self._brick_error()
        is_aligned = np.linalg.norm(error[:2]) < 0.001 and abs(turn) < 0.02
        if error[2] < -_STUDS and not is_aligned:
          # Waits over the studs until the brick fits.
          down = arm.GAIN * (error[2] + _STUDS + 0.003)
        elif self._move.press:
          down = -_PRESS_SPEED
        else:
          down = arm.GAIN * (error[2] + self._move.drop) - 0.01
        return arm.limited(np.array([*(_FINE_GAIN * error[:2]), down])), arm.GAIN * turn

      case Stage.RISE:
        error, _ = self._hand_error()
        return arm.limited(arm.GAIN * (error + [0, 0, _ABOVE])), 0.0

      case Stage.PUSH:
        error, _ = self._hand_error()
        return arm.limited(np.array([*(arm.GAIN * error[:2]), -_PRESS_SPEED])), 0.0

      case Stage.LEAVE:
        up = self._stage_start + [0, 0, _LEAVE] - self._arm.position
        return arm.limited(arm.GAIN * up), 0.0

    raise AssertionError(f"no velocity for {self._stage}")

  def _finger_action(self) -> np.ndarray:
    """Returns the velocities of the fingers as shares of the highest one, [3]."""
    angle = np.array(self._fingers.qpos)

    if self._stage in (Stage.APPROACH, Stage.DESCEND, Stage.RELEASE, Stage.LEAVE):
      return np.clip(_FINGER_GAIN * (_OPEN - angle), -_OPENING_SPEED, _OPENING_SPEED)
    if self._stage in (Stage.RISE, Stage.PUSH):
      return np.full(3, _SQUEEZE)

    # Finger 1 faces 2 and 3, which would push it away: they hold back while they are ahead of it.
    lead = angle[1:].mean() - angle[0]
    return np.array([_SQUEEZE, *np.full(2, _SQUEEZE - _EVEN_GAIN * max(lead, 0.0))])

  def _advance(self) -> bool:
    """Moves on to the next stage if it is time to; returns True when it did."""
    late = self._steps > _PATIENCE
    hand, hand_turn = self._hand_error()
    brick, brick_turn = self._brick_error()

    match self._stage:
      case Stage.APPROACH:
        is_over = (
          np.linalg.norm(hand[:2]) < 0.01 and abs(hand_turn) < 0.2 and abs(hand[2] + _ABOVE) < 0.03
        )
        if late or is_over:
          return self._begin_stage(Stage.DESCEND)

      case Stage.DESCEND:
        # Something in the way may stop the hand short of the grasp.
        if np.linalg.norm(hand) < 0.005 or self._steps > _DESCENT_PATIENCE:
          return self._begin_stage(Stage.GRASP)

      case Stage.GRASP:
        is_closing = np.abs(self._fingers.qvel).max() > _STILL
        if (self._steps > _CLOSING_STEPS and not is_closing) or late:
          return self._begin_stage(Stage.LIFT)

      case Stage.LIFT | Stage.CARRY | Stage.LOWER if np.linalg.norm(hand) > _LOST:
        self._failed.append(self._grasp)
        return self._begin_move()

      case Stage.LIFT:
        if brick[2] + OVER_TARGET < 0.01 or late:
          return self._begin_stage(Stage.CARRY)

      case Stage.CARRY:
        if self._move.hold:
          return False

        is_over = (
          np.linalg.norm(brick[:2]) < 0.005
          and abs(brick[2] + OVER_TARGET) < 0.02
          and abs(brick_turn) < 0.1
        )
        if is_over or late:
          return self._begin_stage(Stage.LOWER)

      case Stage.LOWER:
        if brick[2] + self._move.drop > -_CLICKED:
          return self._begin_stage(Stage.RELEASE)

        # Jammed on the studs, to be pushed on later, or askew above them, to be tried again.
        if self._steps > _PRESS_PATIENCE:
          return self._begin_stage(Stage.RELEASE if brick[2] > -_STUDS else Stage.LIFT)

      case Stage.RELEASE:
        if np.max(self._fingers.qpos) < _PARTED or self._steps > _RELEASE_PATIENCE:
          is_jammed = self._move.press and -_STUDS < brick[2] < -_CLICKED
          return self._begin_stage(Stage.RISE if is_jammed else Stage.LEAVE)

      case Stage.RISE:
        is_closed = np.min(self._fingers.qpos) > _FIST
        is_over = np.linalg.norm(hand[:2]) < 0.005 and abs(hand[2] + _ABOVE) < 0.02
        if (is_closed and is_over) or late:
          return self._begin_stage(Stage.PUSH)

      case Stage.PUSH:
        if brick[2] > -_CLICKED or late:
          return self._begin_stage(Stage.LEAVE)

      case Stage.LEAVE:
        if self._steps > _SETTLED and np.linalg.norm(brick) > _FALLEN:
          self._failed.append(self._grasp)
          return self._begin_move()

        is_last = self._index + 1 == len(self._moves)
        risen = self._arm.position[2] - self._stage_start[2]
        if not is_last and risen > _CLEAR:
          self._index += 1
          self._failed = []
          return self._begin_move()

    return False

  def _begin_move(self) -> bool:
    self._grasp = self._choose_grasp()
    return self._begin_stage(Stage.APPROACH)

  def _begin_stage(self, stage: Stage) -> bool:
    self._stage = stage
    self._stage_start = self._arm.position
    return True


def _action(joints: np.ndarray, fingers: np.ndarray) -> np.ndarray:
  return np.clip(np.concatenate([joints, fingers]), -1, 1).astype(np.float32)


def make(environment: Manipulation, task: str) -> Reach | Builder:
  """Returns the expert of a task of DOMAIN.tasks, for an environment of the same task."""
  if task.startswith("reach"):
    return Reach(environment)
  if "bricks" in task:
    return Builder(environment, moves.stack)
  if task.startswith("place"):
    return Builder(environment, moves.place)

  return Builder(environment, moves.lift)
