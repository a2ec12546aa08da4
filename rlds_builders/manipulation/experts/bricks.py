"""Bricks, how they are grasped and where they go."""

import dataclasses
from collections.abc import Callable

import numpy as np

from rlds_builders import _angles


class Brick:
  """The pose of a Duplo brick, whose frame stands at the middle of its bottom, or of another prop, at its middle."""

  HEIGHT = 0.0192  # m, from one brick to the next in a stack

  def __init__(self, physics, entity):
    model, self._data = physics.model.ptr, physics.data.ptr
    geom = physics.bind(entity.mjcf_model.find_all("geom")[0]).element_id
    self._body = int(model.geom_bodyid[geom])

  @property
  def position(self) -> np.ndarray:
    """[3], metres."""
    return self._data.xpos[self._body].copy()

  @property
  def along(self) -> np.ndarray:
    """[3], the direction of the long side."""
    return self._data.xmat[self._body].reshape(3, 3)[:, 1].copy()

  def outline(self) -> np.ndarray:
    """[N, 2], points around it as seen from above."""
    side = np.linspace(-1, 1, 5)
    corners = np.array([(x, y) for x in side for y in side if max(abs(x), abs(y)) == 1]) * [0.016, 0.032]
    rotation = self._data.xmat[self._body].reshape(3, 3)[:2, :2]
    return self.position[:2] + corners @ rotation.T

  @property
  def yaw(self) -> float:
    """rad, of the short side."""
    return _angles.yaw(self._data.xmat[self._body].reshape(3, 3))


@dataclasses.dataclass(frozen=True)
class Grasp:
  """Fingers at both long sides: metres from the middle along the brick, and 0 or pi between brick's and hand's yaw."""

  shift: float
  turn: float


@dataclasses.dataclass(frozen=True)
class Move:
  """A brick and where it goes: the target's position and yaw are read when asked, as it may be pushed about.

  Attributes:
    obstacles: points [N, 2] that the open hand should not come near.
    tall: they are as high as the palm, too.
    press: the brick is pushed on the studs below it.
    drop: it is let go that many metres above the target.
    hold: it is kept in the hand over the target.
  """

  brick: Brick
  target: Callable[[], tuple[np.ndarray, float]]
  obstacles: Callable[[], np.ndarray]
  tall: bool = False
  press: bool = True
  drop: float = 0.0
  hold: bool = False
