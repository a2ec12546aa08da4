"""Bricks, grasps, and moves of bricks to their targets."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from rlds_builders.worlds import radians


class Brick:
  """The pose of a prop.

  The frame of a Duplo brick is at the middle of its bottom, that of any other prop at its middle.
  """

  HEIGHT = 0.0192  # m, from one brick to the next in a stack

  def __init__(self, physics: Any, entity: Any):
    model, self._data = physics.model.ptr, physics.data.ptr
    geom = physics.bind(entity.mjcf_model.find_all("geom")[0]).element_id
    self._body = int(model.geom_bodyid[geom])

  @property
  def position(self) -> np.ndarray:
    """The origin in metres, [3]."""
    return self._data.xpos[self._body].copy()

  @property
  def along(self) -> np.ndarray:
    """Direction of the long side, [3]."""
    return self._data.xmat[self._body].reshape(3, 3)[:, 1].copy()

  @property
  def yaw(self) -> float:
    """Angle of the short side about the vertical, in radians."""
    return radians.yaw(self._data.xmat[self._body].reshape(3, 3))

  def outline(self) -> np.ndarray:
    """Returns points on the outline as seen from above, in metres, [N, 2]."""
    # The rim of a 5x5 grid over the square [-1, 1] x [-1, 1], scaled to the brick.
    ticks = np.linspace(-1, 1, 5)
    rim = np.array([(x, y) for x in ticks for y in ticks if max(abs(x), abs(y)) == 1])
    points = rim * [0.016, 0.032]

    rotation = self._data.xmat[self._body].reshape(3, 3)[:2, :2]
    return self.position[:2] + points @ rotation.T


@dataclasses.dataclass(frozen=True)
class Grasp:
  """A grasp with fingers at both long sides of a brick.

  Attributes:
    shift: Metres from the middle along the brick.
    turn: Angle between the brick's and the hand's yaw, 0 or pi.
  """

  shift: float
  turn: float


@dataclasses.dataclass(frozen=True)
class Move:
  """A brick and its target.

  Attributes:
    brick: The brick.
    target: Returns the target's position [3] and yaw now, since the target may be pushed about.
    obstacles: Returns points [N, 2] that the open hand should not come near.
    tall: True when obstacles are as high as the palm.
    press: True when the brick is to be pushed onto the studs below it.
    drop: Metres above the target at which the brick is released.
    hold: True when the brick is to be held over the target.
  """

  brick: Brick
  target: Callable[[], tuple[np.ndarray, float]]
  obstacles: Callable[[], np.ndarray]
  tall: bool = False
  press: bool = True
  drop: float = 0.0
  hold: bool = False
