"""BabyAI levels as dm_env environments: the agent's 7x7 view as an image, and the instruction as text in every step."""

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

from rlds_builders import _wrappers

VIEW_SIDE = 7  # cells
TILE_SIDE = 8  # pixels: four cells are one image patch, a step takes 16 patches instead of 49
IMAGE_SIDE = 64  # 7 * 8, padded with black to a multiple of 16
FULL_SIDE = 128  # pixels, at least, of render()
_AGENT_CELL = (VIEW_SIDE // 2, VIEW_SIDE - 1)  # column, row
_FACING_UP = 3
_UNSEEN = 0  # minigrid's object type of a cell that is hidden or out of sight
_EMPTY = 1
_CODES = 1 << 11  # object type (4 bits), colour (3), state (3), agent here (1)


class _Tiles:
  """The tile of every cell content, drawn by minigrid once per process: uint8 [_CODES, 8, 8, 3]."""

  def __init__(self):
    self._tiles = np.zeros((_CODES, TILE_SIDE, TILE_SIDE, 3), np.uint8)
    self._drawn = np.zeros(_CODES, bool)

  def view(self, cells: np.ndarray) -> np.ndarray:
    """minigrid's encoded view uint8 [column, row, (type, colour, state)] -> image uint8 [64, 64, 3]."""
    cells = cells.astype(np.int32)
    codes = (cells[..., 0] << 7) | (cells[..., 1] << 4) | (cells[..., 2] << 1)
    codes[_AGENT_CELL] |= 1
    if not self._drawn[codes].all():
      for column, row in zip(*np.nonzero(~self._drawn[codes]), strict=True):
        self._draw(codes[column, row], cells[column, row])
    tiles = self._tiles[codes.T]  # [row, column, 8, 8, 3]
    side = VIEW_SIDE * TILE_SIDE
    image = np.zeros((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8)
    image[:side, :side] = tiles.transpose(0, 2, 1, 3, 4).reshape(side, side, 3)
    return image

  def _draw(self, code: int, cell: np.ndarray) -> None:
    kind, colour, state = (int(x) for x in cell)
    self._tiles[code] = Grid.render_tile(
      None if kind in (_UNSEEN, _EMPTY) else WorldObj.decode(kind, colour, state),
      agent_dir=_FACING_UP if code & 1 else None,
      highlight=kind != _UNSEEN,
      tile_size=TILE_SIDE,
    )
    self._drawn[code] = True


_TILES = _Tiles()


class BabyAI(_wrappers.GymnasiumEnvironment):
  """One BabyAI level with minigrid's own reward 1 - 0.9 * step / limit at success, and its own step limit."""

  def __init__(self, task: str):
    # Levels print rejected samples of their generator: noise among progress bars.
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
    return {"image": _TILES.view(observation["image"]), "mission": np.asarray(observation["mission"])}

  def episode_info(self) -> dict[str, Any]:
    """success: the instruction was carried out before the step limit."""
    return {"success": self._success}

  def observation_spec(self) -> dict[str, specs.Array]:
    return {
      "image": specs.BoundedArray((IMAGE_SIDE, IMAGE_SIDE, 3), np.uint8, 0, 255, name="image"),
      "mission": specs.StringArray(shape=(), name="mission"),
    }

  def action_spec(self) -> specs.DiscreteArray:
    """0 turn left, 1 turn right, 2 forward, 3 pick up, 4 drop, 5 toggle (open a door or box), 6 done (does nothing)."""
    return specs.DiscreteArray(7, np.int32, name="action")

  def render(self) -> np.ndarray:
    """The whole level, the agent's view highlighted: uint8 [H, W, 3]."""
    tile_side = -(-FULL_SIDE // min(self.gym.width, self.gym.height))
    return self.gym.get_frame(highlight=True, tile_size=tile_side)


def _registered_name(task: str) -> str:
  """ "GoToLocal" -> "BabyAI-GoToLocal-v0"; the version differs between levels."""
  return next(name for name in gymnasium.registry if name.rpartition("-v")[0] == f"BabyAI-{task}")


def make(task: str) -> BabyAI:
  """The environment of one level, e.g. "GoToRedBallGrey"."""
  return BabyAI(task)
