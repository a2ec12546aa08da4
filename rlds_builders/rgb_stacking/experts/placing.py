"""Where to grasp red, from the convex hulls of the objects, and where on blue to put it, by trying in simulation."""

import copy
import dataclasses
from collections.abc import Sequence

import mujoco
import numpy as np
from scipy import spatial

from rlds_builders import _angles
from rlds_builders.rgb_stacking import assembly, rewards
from rlds_builders.rgb_stacking.environment import RgbStacking

_SHIFTS = np.linspace(-0.06, 0.06, 17)  # m along the object, of the grasp
_LOWEST = 0.0705  # m, of the pinch point: the workspace ends just below
_PAD = (-0.003, 0.0275)  # m above the pinch point: the part of the fingers that holds
_PAD_HALF_WIDTH = 0.009
_GRIPPER_SHAPE = ((-0.004, 0.066), (0.02, 0.066), (0.045, 0.076))  # m: above the pinch point, half its width there
_OPENING = 0.085
_YAW_CENTRE = -0.3  # rad, the middle of the wrist's range
_YAWS = np.linspace(-np.pi / 2, np.pi / 2, 36, endpoint=False) + _YAW_CENTRE
_YAW_RANGE = 1.75  # rad to both sides
_TURNS = np.array([0, 0.4, -0.4, 0.8, -0.8, 1.57, -1.57])
# Metres from blue's middle: the second set is tried where red comes to rest nowhere in the first.
_NEAR = 0.008 * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
_WIDE = np.array([[x, y] for x in (-0.018, -0.009, 0, 0.009, 0.018) for y in (-0.018, -0.009, 0, 0.009, 0.018)])
_FAILED = 10.0
_TRIAL_SECONDS, _TRIAL_TIMESTEP = 0.5, 0.001


@dataclasses.dataclass(frozen=True)
class Target:
  """Of the pinch point: position [3] in metres and angle about the vertical."""

  position: np.ndarray
  yaw: float


class Hull:
  """An object's convex hull in the world: corners [N, 3] and half-spaces normals [F, 3] @ x <= offsets [F]."""

  def __init__(self, scene: rewards.Scene, model: mujoco.MjModel, data: mujoco.MjData, colour: str):
    geom = scene.geom(colour)
    mesh = model.geom_dataid[geom]
    start = model.mesh_vertadr[mesh]
    corners = model.mesh_vert[start : start + model.mesh_vertnum[mesh]]
    self.corners = corners @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
    equations = spatial.ConvexHull(self.corners).equations
    self._normals, self._offsets = equations[:, :3], -equations[:, 3]
    self.centre = data.geom_xpos[geom].copy()

  def chords(self, points: np.ndarray, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lines through points [P, 3]: where they enter and leave [P] (nan outside), and the normals there [2, P, 3]."""
    rate = self._normals @ direction
    room = self._offsets - points @ self._normals.T
    with np.errstate(divide="ignore"):
      crossing = room / rate
    leave = np.where(rate > 1e-9, crossing, np.inf)
    enter = np.where(rate < -1e-9, crossing, -np.inf)
    first, last = enter.max(axis=1), leave.min(axis=1)
    outside = (first > last) | np.any((np.abs(rate) <= 1e-9) & (room < 0), axis=1)
    normals = np.stack([self._normals[enter.argmax(axis=1)], self._normals[leave.argmin(axis=1)]])
    return np.where(outside, np.nan, first), np.where(outside, np.nan, last), normals


def _hulls(environment: RgbStacking) -> dict[str, Hull]:
  model, data = environment.physics.model.ptr, environment.physics.data.ptr
  return {c: Hull(environment.scene, model, data, c) for c in assembly.COLOURS}


def grasp(environment: RgbStacking, failed: Sequence[Target] = ()) -> Target:
  """The yaw and place at which both fingers meet red most squarely, near its middle, and hit nothing when open.

  What is like one of the failed grasps is avoided.
  """
  hulls = _hulls(environment)
  red = hulls["red"]
  top = red.corners[:, 2].max()
  height = max(_LOWEST, top - _PAD[1] - 0.005)
  levels = np.zeros((5, 3))
  levels[:, 2] = np.linspace(_PAD[0], min(_PAD[1], top - height - 0.003), len(levels))
  best, best_cost = None, np.inf
  for yaw in _YAWS:
    along = np.array([np.cos(yaw), np.sin(yaw), 0.0])  # the pads' width
    across = np.array([np.sin(yaw), -np.cos(yaw), 0.0])  # the closing direction
    for shift in _SHIFTS:
      centre = np.array([*red.centre[:2], height]) + shift * along
      sides = np.array([-_PAD_HALF_WIDTH, 0, _PAD_HALF_WIDTH])[:, None] * along
      points = centre + (levels[:, None] + sides[None]).reshape(-1, 3)
      first, last, normals = red.chords(points, across)
      inside = np.isfinite(first)
      if inside.mean() < 0.4:
        continue
      slant = _slant((last - first).reshape(len(levels), -1), normals, across)
      low, high = np.nanmin(first), np.nanmax(last)
      middle = (low + high) / 2
      cost = 4 * slant + 0.3 * (~inside).mean() + 6 * abs(shift) + 8 * abs(middle)
      cost += 10 * max(0.0, high - low - 0.06) + 50 * max(0.0, high - low - _OPENING + 0.008)
      blocked = _blocked(hulls, centre + middle * across, along, across)
      cost += 30 * blocked + 0.3 * (blocked > 0.003)
      cost += 0.1 * abs(yaw - _YAW_CENTRE)
      target = Target(_inside(centre + middle * across), float(yaw))
      cost += sum(_alike(target, other) for other in failed)
      if cost < best_cost:
        best, best_cost = target, cost
  if best is None:
    return Target(_inside(np.array([*red.centre[:2], height])), _YAW_CENTRE)
  return best


def _slant(widths: np.ndarray, normals: np.ndarray, across: np.ndarray) -> float:
  """1 minus the cosine between the closing direction and the faces that the pads meet: 0 for a square grip.

  Args:
    widths: [levels, sides], of the object in the closing direction, nan outside.
    normals: [2, levels * sides, 3], of the faces the first and the second finger meets.
    across: [3], the closing direction.
  """
  widest = int(np.argmax(np.nanmax(np.where(np.isnan(widths), 0, widths), axis=1)))
  normals = normals.reshape(2, *widths.shape, 3)[:, widest][:, ~np.isnan(widths[widest])]
  if 0 < widest < len(widths) - 1:  # an edge between the pads' ends meets them flat, whatever the faces above and below
    normals = normals * [1, 1, 0]
    normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True)
  return float(1 - np.abs(normals @ across).mean())


def _alike(one: Target, other: Target) -> float:
  """1 for the same target, less with every centimetre and half radian between them."""
  apart = np.linalg.norm(one.position - other.position) / 0.01 + abs(one.yaw - other.yaw) / 0.5
  return float(np.exp(-apart))


def _blocked(hulls: dict[str, Hull], centre: np.ndarray, along: np.ndarray, across: np.ndarray) -> float:
  """How far the gripper would go into things, in metres: green and blue anywhere in it, red in the open fingers."""
  depth = 0.0
  sides = np.array([-0.012, 0, 0.012])[:, None] * along
  for colour, hull in hulls.items():
    for level, outer in _GRIPPER_SHAPE:
      first, last, _ = hull.chords(centre + sides + [0, 0, level], across)
      inner = _OPENING / 2 if colour == "red" else -outer
      for a, b in zip(first, last, strict=True):
        if np.isfinite(a):
          depth = max(depth, min(b, outer) - max(a, inner), min(b, -inner) - max(a, -outer))
  return depth


def _inside(position: np.ndarray) -> np.ndarray:
  half = assembly.WORKSPACE_SIZE / 2 - 0.001
  return np.clip(position, assembly.WORKSPACE_CENTRE - half, assembly.WORKSPACE_CENTRE + half)


def approach_height(environment: RgbStacking, clearance: float) -> float:
  """Of the pinch point, so that the open fingers pass over all objects."""
  top = max(hull.corners[:, 2].max() for hull in _hulls(environment).values())
  return float(_inside(np.array([0, 0, top + clearance]))[2])


def carry_height(environment: RgbStacking, clearance: float) -> float:
  """Of the pinch point, so that all of red, as it is held now, passes over green and blue."""
  hulls = _hulls(environment)
  top = max(hulls[c].corners[:, 2].max() for c in ("green", "blue"))
  below = environment.scene.pinch[2] - hulls["red"].corners[:, 2].min()
  return float(_inside(np.array([0, 0, top + clearance + below]))[2])


def place(environment: RgbStacking) -> Target:
  """Tries red on blue at several angles and offsets in a copy of the simulation; where it moved least once let go."""
  trials = _Trials(environment)
  found = [trials.run(turn, offset) for turn in trials.turns for offset in _NEAR]
  if min(cost for cost, _ in found) >= _FAILED:
    found += [trials.run(turn, offset) for turn in trials.turns for offset in _WIDE]
  return min(found, key=lambda one: one[0])[1]


class _Trials:
  """A copy of the simulation without the robot, in which red, as it is held now, is let go over blue."""

  def __init__(self, environment: RgbStacking):
    scene = self._scene = environment.scene
    self._model, self._data = copy.copy(environment.physics.model.ptr), copy.copy(environment.physics.data.ptr)
    self._model.opt.timestep = _TRIAL_TIMESTEP
    for i in scene.geoms_of("robot"):
      self._model.geom_contype[i] = self._model.geom_conaffinity[i] = 0
    mujoco.mj_forward(self._model, self._data)
    self._start = self._data.qpos.copy()
    self._address = self._model.jnt_qposadr[self._model.body_jntadr[self._model.body_rootid[scene.body("red")]]]
    self._pinch, self._yaw = scene.pinch, _angles.yaw(scene.pinch_rotation)
    self._red, self._blue = (self._data.geom_xpos[scene.geom(colour)].copy() for colour in ("red", "blue"))
    self.turns = [turn for turn in _TURNS if abs(self._yaw + turn - _YAW_CENTRE) <= _YAW_RANGE]

  def run(self, turn: float, offset: np.ndarray) -> tuple[float, Target]:
    """How far red moved in metres plus _FAILED where it did not come to rest on blue; and where the pinch point was."""
    model, data, start, red = self._model, self._data, self._start, self._address
    cosine, sine = np.cos(turn), np.sin(turn)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
    tool = np.array([*(self._blue[:2] + offset), self._blue[2] + 0.12]) - rotation @ (self._red - self._pinch)
    cost = 0.01 * abs(turn) + 0.3 * np.linalg.norm(offset)
    if not np.allclose(_inside(tool)[:2], tool[:2]):
      return cost + 2 * _FAILED, Target(_inside(tool), self._yaw + turn)
    mujoco.mj_resetData(model, data)
    data.qpos[:] = start
    data.qpos[red : red + 3] = tool + rotation @ (start[red : red + 3] - self._pinch)
    turned = np.array([np.cos(turn / 2), 0, 0, np.sin(turn / 2)])
    mujoco.mju_mulQuat(data.qpos[red + 3 : red + 7], turned, start[red + 3 : red + 7])
    tool[2] -= self._lower()
    before = data.qpos[red : red + 3].copy()
    mujoco.mj_step(model, data, nstep=round(_TRIAL_SECONDS / _TRIAL_TIMESTEP))
    mujoco.mj_forward(model, data)
    cost += np.linalg.norm(data.qpos[red : red + 3] - before) + _FAILED * (not rewards.stacked(self._scene.at(data)))
    return float(cost), Target(tool, self._yaw + turn)

  def _lower(self) -> float:
    """Moves red straight down until it nearly touches blue or green; returns by how many metres."""
    model, data, height = self._model, self._data, self._address + 2
    red, *others = (self._scene.geom(colour) for colour in ("red", "blue", "green"))
    before = data.qpos[height]
    for _ in range(20):
      mujoco.mj_kinematics(model, data)
      mujoco.mj_comPos(model, data)
      gap = min(mujoco.mj_geomDistance(model, data, red, other, 0.2, None) for other in others)
      if gap < 5e-4:
        break
      data.qpos[height] -= gap
    return float(before - data.qpos[height])
