"""BabyAI levels as dm_env environments: the agent's 7x7 view as an image, and the instruction."""

import contextlib
import io
from typing import Any

import dm_env
import gymnasium
import minigrid  # noqa: F401  registers the levels
import numpy as np
from dm_env import specs
from minigrid.core.grid import Grid
from minigrid.core.world_object import WorldObj

from rlds_builders.base import wrappers

VIEW_SIDE = 7  # cells

# Pixels. With 8 a cell instead of minigrid's 32, an image patch of 16x16 covers four cells; the
# view's 56 pixels are padded to a multiple of 16, so that a step takes 16 patches.
TILE_SIDE = 8
IMAGE_SIDE = 64

FULL_SIDE = 128  # pixels, the least side of render()

_AGENT_CELL = (VIEW_SIDE // 2, VIEW_SIDE - 1)  # column, row
_FACING_UP = 3

# minigrid's object types of a cell that is out of sight and of one that is empty.
_UNSEEN = 0
_EMPTY = 1

# A code packs a cell's content: object type (4 bits), colour (3), state (3), agent (1).
_CODES = 1 << 11


class _TileCache:
  """Draws views from tiles that minigrid renders once per process and cell content."""

  def __init__(self):
    self._tiles = np.zeros((_CODES, TILE_SIDE, TILE_SIDE, 3), np.uint8)
    self._rendered = np.zeros(_CODES, bool)

  def draw_view(self, cells: np.ndarray) -> np.ndarray:
    """Draws an encoded view.

    Args:
      cells: Minigrid's encoding of the view, uint8 [column, row, (type, colour, state)].

    Returns:
      The image, uint8 [64, 64, 3], black at its right and lower edge.
    """
    cells = cells.astype(np.int32)
    codes = (cells[..., 0] << 7) | (cells[..., 1] << 4) | (cells[..., 2] << 1)
    codes[_AGENT_CELL] |= 1

    if not self._rendered[codes].all():
      for column, row in zip(*np.nonzero(~self._rendered[codes]), strict=True):
        self._render(codes[column, row], cells[column, row])

    # minigrid indexes by column first, images by row first. Swapping the middle axes of
    # [row, column, 8, 8, 3] puts the pixel rows of a tile below each other.
    tiles = self._tiles[codes.T]
    side = VIEW_SIDE * TILE_SIDE
    image = np.zeros((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    image[:side, :side] = tiles.transpose(0, 2, 1, 3, 4).reshape(side, side, 3)

    return image

  def _render(self, code: int, cell: np.ndarray) -> None:
    kind, colour, state = (int(x) for x in cell)

    self._tiles[code] = Grid.render_tile(
      None if kind in (_UNSEEN, _EMPTY) else WorldObj.decode(kind, colour, state),
      agent_dir=_FACING_UP if code & 1 else None,
      highlight=kind != _UNSEEN,
      tile_size=TILE_SIDE,
    )
    self._rendered[code] = True


_TILES = _TileCache()


class BabyAI(wrappers.GymnasiumEnvironment):
  """One BabyAI level with minigrid's own step limit.

  The reward is minigrid's: 1 - 0.9 * step / limit at success, 0 before.
  """

  def __init__(self, task: str):
    # Levels print the layouts that their generator rejects, amid our progress bars.
    with contextlib.redirect_stdout(io.StringIO()):
      gym = gymnasium.make(_registered_name(task), disable_env_checker=True).unwrapped

    super().__init__(gym)
    self._success = False

  def reset(self) -> dm_env.TimeStep:
    self._success = False
    with contextlib.redirect_stdout(io.StringIO()):
      return super().reset()

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    timestep = super().step(action)
    self._success = self._success or bool(timestep.reward)
    return timestep

  def native_action(self, action: np.ndarray) -> int:
    return int(action)

  def observe(self, observation: dict[str, Any]) -> dict[str, Any]:
    return {
      "image": _TILES.draw_view(observation["image"]),
      "mission": np.asarray(observation["mission"]),
    }

  def episode_info(self) -> dict[str, Any]:
    """Returns "success", True when the instruction was carried out before the step limit."""
    return {"success": self._success}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {
      "image": specs.BoundedArray((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8, 0, 255, name="image"),
      "mission": specs.StringArray(shape=(), name="mission"),
    }

  def action_spec(self) -> specs.DiscreteArray:
    """Returns the spec of minigrid's seven actions.

    They are 0 turn left, 1 turn right, 2 forward, 3 pick up, 4 drop, 5 toggle (open a door or a
    box) and 6 done, which does nothing.
    """
    return specs.DiscreteArray(7, np.int32, name="action")

  def render(self) -> np.ndarray:
    """Returns the whole level with the agent's view highlighted, uint8 [H, W, 3]."""
    # Rounded up, so that the shorter side has at least FULL_SIDE pixels.
    tile_side = -(-FULL_SIDE // min(self.gym.width, self.gym.height))
    return self.gym.get_frame(highlight=True, tile_size=tile_side)


def _registered_name(task: str) -> str:
  """Returns the name in gymnasium's registry, e.g. "BabyAI-GoToLocal-v0" for "GoToLocal"."""
  # The version differs between levels.
  return next(name for name in gymnasium.registry if name.rpartition("-v")[0] == f"BabyAI-{task}")


def make(task: str) -> BabyAI:
  """Returns the environment of one level, e.g. "GoToRedBallGrey"."""
  return BabyAI(task)
