"""Choice of a grasp of red, from the convex hulls of the objects."""

from collections.abc import Sequence

import numpy as np

from rlds_builders.rgb_stacking.environment import RgbStacking
from rlds_builders.rgb_stacking.experts.hull import Hull, hulls
from rlds_builders.rgb_stacking.experts.targets import YAW_CENTRE, Target, inside

# Candidate grasps: shifts along the object in metres, and angles about the vertical.
_SHIFTS = np.linspace(-0.06, 0.06, 17)
_YAWS = np.linspace(-np.pi / 2, np.pi / 2, 36, endpoint=False) + YAW_CENTRE

_LOWEST = 0.0705  # m, of the pinch point: the workspace ends just below

# The part of the fingers that holds: lowest and highest above the pinch point, and half its width.
_PAD = (-0.003, 0.0275)
_PAD_HALF_WIDTH = 0.009

# The gripper's outline: metres above the pinch point, and half its width there.
_GRIPPER_SHAPE = ((-0.004, 0.066), (0.02, 0.066), (0.045, 0.076))
_GRIPPER_HALF_DEPTH = 0.012
_OPENING = 0.085  # m, between the open fingers


def grasp(environment: RgbStacking, failed: Sequence[Target] = ()) -> Target:
  """Chooses a grasp of red.

  The best grasp meets red most squarely with both fingers, near its middle, and hits nothing with
  the open gripper.

  Args:
    environment: The environment.
    failed: Earlier grasps; similar ones are avoided.
  """
  all_hulls = hulls(environment)
  red = all_hulls["red"]

  # The pads reach just below the top of red, or as low as the workspace allows.
  top = red.corners[:, 2].max()
  height = max(_LOWEST, top - _PAD[1] - 0.005)

  # Sampled points of the pads: 5 levels by 3 points across their width.
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
      is_inside = np.isfinite(first)
      if is_inside.mean() < 0.4:
        continue

      # Where the pads meet red: at which angle, and how far apart.
      slant = _slant((last - first).reshape(len(levels), -1), normals, across=across)
      low, high = np.nanmin(first), np.nanmax(last)
      width = high - low
      middle = (low + high) / 2
      pinch = centre + middle * across

      cost = 4 * slant + 0.3 * (~is_inside).mean() + 6 * abs(shift) + 8 * abs(middle)
      cost += 10 * max(0.0, width - 0.06) + 50 * max(0.0, width - _OPENING + 0.008)

      blocked = _blocked(all_hulls, pinch, along=along, across=across)
      cost += 30 * blocked + 0.3 * (blocked > 0.003)
      cost += 0.1 * abs(yaw - YAW_CENTRE)

      target = Target(inside(pinch), float(yaw))
      cost += sum(_similarity(target, other) for other in failed)
      if cost < best_cost:
        best, best_cost = target, cost

  if best is None:
    return Target(inside(np.array([*red.centre[:2], height])), YAW_CENTRE)

  return best


def approach_height(environment: RgbStacking, clearance: float) -> float:
  """Returns the height of the pinch point at which the open fingers pass over all objects."""
  top = max(hull.corners[:, 2].max() for hull in hulls(environment).values())
  return float(inside(np.array([0, 0, top + clearance]))[2])


def carry_height(environment: RgbStacking, clearance: float) -> float:
  """Returns the height of the pinch point at which red, as it is held, passes over the others."""
  all_hulls = hulls(environment)
  top = max(all_hulls[colour].corners[:, 2].max() for colour in ("green", "blue"))
  below = environment.scene.pinch[2] - all_hulls["red"].corners[:, 2].min()

  return float(inside(np.array([0, 0, top + clearance + below]))[2])


def _slant(widths: np.ndarray, normals: np.ndarray, across: np.ndarray) -> float:
  """Returns 1 minus the cosine between the closing direction and the faces that the pads meet.

  Args:
    widths: Of the object in the closing direction, [levels, sides], NaN outside.
    normals: Of the faces that the first and the second finger meet, [2, levels * sides, 3].
    across: The closing direction, [3].

  Returns:
    0 for a square grip.
  """
  # The pads meet the object at its widest level.
  widest = int(np.argmax(np.nanmax(np.where(np.isnan(widths), 0, widths), axis=1)))
  normals = normals.reshape(2, *widths.shape, 3)[:, widest][:, ~np.isnan(widths[widest])]

  # An edge between the ends of the pads meets them flat, whatever the slope of the faces above
  # and below it.
  if 0 < widest < len(widths) - 1:
    normals = normals * [1, 1, 0]
    normals = normals / np.linalg.norm(normals, axis=-1, keepdims=True)

  return float(1 - np.abs(normals @ across).mean())


def _similarity(a: Target, b: Target) -> float:
  """Returns 1 for the same target, less for every centimetre and half radian between them."""
  difference = np.linalg.norm(a.position - b.position) / 0.01 + abs(a.yaw - b.yaw) / 0.5
  return float(np.exp(-difference))


def _blocked(
  all_hulls: dict[str, Hull], centre: np.ndarray, along: np.ndarray, across: np.ndarray
) -> float:
  """Returns the largest depth to which the open gripper would enter an object, in metres."""
  depth = 0.0
  sides = np.array([-_GRIPPER_HALF_DEPTH, 0, _GRIPPER_HALF_DEPTH])[:, None] * along

  for colour, hull in all_hulls.items():
    for level, outer in _GRIPPER_SHAPE:
      first, last, _ = hull.chords(centre + sides + [0, 0, level], across)

      # Red may be between the fingers, the others nowhere in the gripper.
      inner = _OPENING / 2 if colour == "red" else -outer
      for low, high in zip(first, last, strict=True):
        if np.isfinite(low):
          right = min(high, outer) - max(low, inner)
          left = min(high, -inner) - max(low, -outer)
          depth = max(depth, right, left)

  return depth
