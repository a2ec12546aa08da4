"""Moves of bricks that solve each kind of task."""

import itertools
from typing import Any

import numpy as np

from rlds_builders.manipulation.experts.bricks import Brick, Move

OVER_TARGET = 0.03  # m, of a carried brick above its target

# m, height to which a brick is lifted; with OVER_TARGET a little more than the task asks for.
_LIFTED = 0.33

_PEDESTAL_RADIUS = 0.07  # m
_PEDESTAL_DROP = 0.008  # m


def lift(physics: Any, task: Any) -> list[Move]:
  """Returns the move of "lift_brick" and "lift_large_box"."""
  brick = Brick(physics, task._prop)
  start = brick.position

  def target() -> tuple[np.ndarray, float]:
    return start + [0, 0, _LIFTED], brick.yaw

  return [Move(brick, target, obstacles=lambda: np.zeros((0, 2)), hold=True)]


def place(physics: Any, task: Any) -> list[Move]:
  """Returns the move of "place_brick" and "place_cradle", onto a pedestal."""
  brick = Brick(physics, task._prop)
  site = physics.bind(task._pedestal.target_site)

  angles = np.linspace(0, 2 * np.pi, 48)
  circle = _PEDESTAL_RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=-1)

  def target() -> tuple[np.ndarray, float]:
    return np.array(site.xpos) + [0, 0, Brick.HEIGHT], 0.0

  return [
    Move(
      brick,
      target,
      obstacles=lambda: site.xpos[:2] + circle,
      tall=True,
      press=False,
      drop=_PEDESTAL_DROP,
    )
  ]


def stack(physics: Any, task: Any) -> list[Move]:
  """Returns the moves of tasks in which bricks are stacked, from the lowest to the highest."""
  bricks = [Brick(physics, entity) for entity in task._bricks]
  order = [bricks[i] for i in task._desired_order]

  def move(top: Brick, base: Brick) -> Move:
    def target() -> tuple[np.ndarray, float]:
      return base.position + [0, 0, Brick.HEIGHT], base.yaw

    def obstacles() -> np.ndarray:
      return np.concatenate([brick.outline() for brick in bricks if brick is not top])

    return Move(top, target, obstacles=obstacles)

  return [move(top, base) for base, top in itertools.pairwise(order)]
