"""Choice of a placement on blue, by trials in a copy of the simulation."""

import copy

import mujoco
import numpy as np

from rlds_builders.rgb_stacking import rewards
from rlds_builders.rgb_stacking.environment import RgbStacking
from rlds_builders.rgb_stacking.experts.targets import YAW_CENTRE, Target, inside
from rlds_builders.worlds import radians

# Candidate turns of red, in radians, within the range of the wrist.
_TURNS = np.array([0, 0.4, -0.4, 0.8, -0.8, 1.57, -1.57])
_YAW_RANGE = 1.75  # rad to both sides of the middle

# Candidate offsets from blue's middle, in metres. The second set is for when red comes to rest
# nowhere in the first.
_NEAR = 0.008 * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
_WIDE_TICKS = (-0.018, -0.009, 0, 0.009, 0.018)
_WIDE = np.array([[x, y] for x in _WIDE_TICKS for y in _WIDE_TICKS])

_FAILURE_COST = 10.0  # more than any other cost

# Duration and timestep of a trial, in seconds.
_TRIAL_DURATION = 0.5
_TRIAL_TIMESTEP = 0.001


def place(environment: RgbStacking) -> Target:
  """Returns the target from which red moves least once it is released."""
  trials = _Trials(environment)
  results = [trials.run(turn, offset) for turn in trials.turns for offset in _NEAR]
  if min(cost for cost, _ in results) >= _FAILURE_COST:
    results += [trials.run(turn, offset) for turn in trials.turns for offset in _WIDE]

  _, target = min(results, key=lambda result: result[0])
  return target


class _Trials:
  """A copy of the simulation without the robot, in which red, as it is held, is released.

  Attributes:
    turns: Turns of the gripper that are in the wrist's range, in radians.
  """

  def __init__(self, environment: RgbStacking):
    scene = environment.scene
    self._scene = scene
    self._model = copy.copy(environment.physics.model.ptr)
    self._data = copy.copy(environment.physics.data.ptr)
    self._model.opt.timestep = _TRIAL_TIMESTEP

    # The robot stays where it is and touches nothing.
    for geom in scene.geoms_of("robot"):
      self._model.geom_contype[geom] = self._model.geom_conaffinity[geom] = 0
    mujoco.mj_forward(self._model, self._data)

    # Red's seven numbers in qpos: position and quaternion of its free joint.
    joint = self._model.body_jntadr[self._model.body_rootid[scene.body("red")]]
    self._red_index = self._model.jnt_qposadr[joint]
    self._start = self._data.qpos.copy()

    self._pinch = scene.pinch
    self._yaw = radians.yaw(scene.pinch_rotation)
    self._red = self._data.geom_xpos[scene.geom("red")].copy()
    self._blue = self._data.geom_xpos[scene.geom("blue")].copy()
    self.turns = [turn for turn in _TURNS if abs(self._yaw + turn - YAW_CENTRE) <= _YAW_RANGE]

  def run(self, turn: float, offset: np.ndarray) -> tuple[float, Target]:
    """Releases red over blue.

    Args:
      turn: Radians by which the gripper turns first.
      offset: Horizontal metres from blue's middle, [2].

    Returns:
      The cost, which is the metres that red moved and small amounts for turn and offset, plus
      _FAILURE_COST if red did not come to rest on blue; and the pinch point at the release.
    """
    model, data, start, red = self._model, self._data, self._start, self._red_index
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])

    # The pinch point for which the middle of the turned red is 12 cm above blue's.
    above_blue = np.array([*(self._blue[:2] + offset), self._blue[2] + 0.12])
    pinch = above_blue - rotation @ (self._red - self._pinch)

    cost = 0.01 * abs(turn) + 0.3 * np.linalg.norm(offset)
    if not np.allclose(inside(pinch)[:2], pinch[:2]):
      return float(cost + 2 * _FAILURE_COST), Target(inside(pinch), self._yaw + turn)

    # Turns and moves red with the gripper, then lowers it onto what is below.
    mujoco.mj_resetData(model, data)
    data.qpos[:] = start
    data.qpos[red : red + 3] = pinch + rotation @ (start[red : red + 3] - self._pinch)
    quaternion = np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])
    mujoco.mju_mulQuat(data.qpos[red + 3 : red + 7], quaternion, start[red + 3 : red + 7])
    pinch[2] -= self._lower()

    released = data.qpos[red : red + 3].copy()
    mujoco.mj_step(model, data, nstep=round(_TRIAL_DURATION / _TRIAL_TIMESTEP))
    mujoco.mj_forward(model, data)

    moved = np.linalg.norm(data.qpos[red : red + 3] - released)
    is_stacked = rewards.stacked(self._scene.at(data))
    cost += moved + _FAILURE_COST * (not is_stacked)
    return float(cost), Target(pinch, self._yaw + turn)

  def _lower(self) -> float:
    """Moves red straight down until it nearly touches blue or green; returns the metres."""
    model, data = self._model, self._data
    height = self._red_index + 2  # of z in qpos
    red, *others = (self._scene.geom(colour) for colour in ("red", "blue", "green"))

    # To move by the distance to the nearest object never moves into it, and converges.
    start = data.qpos[height]
    for _ in range(20):
      mujoco.mj_kinematics(model, data)
      mujoco.mj_comPos(model, data)
      gap = min(mujoco.mj_geomDistance(model, data, red, other, 0.2, None) for other in others)
      if gap < 5e-4:
        break
      data.qpos[height] -= gap

    return float(start - data.qpos[height])
