"""Sokoban in NumPy: rules, rewards and drawing.

Rewards are those of Racaniere et al. 2017 and gym-sokoban.
"""

import functools
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.base import wrappers
from rlds_builders.sokoban import levels

STEP_REWARD = -0.1
ON_TARGET_REWARD = 1.0
OFF_TARGET_REWARD = -1.0
SOLVED_REWARD = 10.0

# Pixels of a cell in render() and in the observation, where four cells fill an image patch.
TILE = 16
OBSERVED_TILE = 8

# Contents of a cell, in the order of the tiles.
_FLOOR, _WALL, _TARGET, _BOX, _BOX_ON_TARGET, _PLAYER, _PLAYER_ON_TARGET = range(7)

_Colour = tuple[int, int, int]


class Sokoban(wrappers.Environment):
  """Boards of one size; a seed is a level.

  Attributes:
    level: The board at the beginning of the episode.
    boxes: Cells of the boxes now.
    player: Cell of the player now.
  """

  level: levels.Level
  boxes: set[int]
  player: int

  def __init__(self, size: levels.Size):
    self._size = size
    self._next_seed = 0
    self._steps = 0
    self._needs_reset = True

  def seed(self, seed: int) -> None:
    self._next_seed = seed

  def reset(self) -> dm_env.TimeStep:
    self.set_level(levels.generate(self._size, self._next_seed))
    self._next_seed += 1

    return dm_env.restart(self._observation())

  def set_level(self, level: levels.Level) -> None:
    """Begins an episode on the given board."""
    self.level = level
    self.boxes = set(level.boxes)
    self.player = level.player
    self._steps = 0
    self._needs_reset = False

    # What is drawn below boxes and player.
    self._ground = [_WALL if wall else _FLOOR for wall in level.walls]
    for cell in level.targets:
      self._ground[cell] = _TARGET

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    reward = self.move(int(action))

    if self.solved:
      self._needs_reset = True
      return dm_env.termination(reward, self._observation())
    if self._steps >= self._size.steps:
      self._needs_reset = True
      return dm_env.truncation(reward, self._observation())

    return dm_env.transition(reward, self._observation())

  def move(self, action: int) -> float:
    """Applies the rules to the board without drawing it, and returns the reward."""
    self._steps += 1
    reward = STEP_REWARD
    delta = self.level.deltas[action]
    destination = self.player + delta

    if destination in self.boxes:
      # A box moves if the cell behind it is free; otherwise nothing moves.
      beyond = destination + delta
      if self.level.walls[beyond] or beyond in self.boxes:
        return reward

      self.boxes.remove(destination)
      self.boxes.add(beyond)

      targets = self.level.targets
      reward += ON_TARGET_REWARD * (beyond in targets) + OFF_TARGET_REWARD * (
        destination in targets
      )
      reward += SOLVED_REWARD * self.solved

    if not self.level.walls[destination]:
      self.player = destination

    return reward

  @property
  def solved(self) -> bool:
    """True when every box is on a target."""
    return self.boxes == self.level.targets

  def observation_spec(self) -> dict[str, specs.Array]:
    # Padded with black to a multiple of 16, the side of an image patch.
    side = -(-OBSERVED_TILE * self._size.side // 16) * 16
    return {"board": specs.BoundedArray((side, side, 3), np.uint8, 0, 255, name="board")}

  def action_spec(self) -> specs.DiscreteArray:
    """Returns the spec of the four moves, 0 up, 1 down, 2 left, 3 right."""
    return specs.DiscreteArray(len(levels.ACTIONS), dtype=np.int32, name="action")

  def episode_info(self) -> dict[str, Any]:
    """Returns "success", True when solved, and "level", the first board as text."""
    return {"success": self.solved, "level": self.level.rows()}

  def render(self) -> np.ndarray:
    return self._draw(_tiles())

  def _draw(self, all_tiles: np.ndarray) -> np.ndarray:
    """Draws the board.

    Args:
      all_tiles: One tile for each content of a cell, uint8 [7, t, t, 3].

    Returns:
      The image, uint8 [side * t, side * t, 3].
    """
    codes = list(self._ground)
    for box in self.boxes:
      codes[box] = _BOX_ON_TARGET if codes[box] == _TARGET else _BOX
    codes[self.player] = _PLAYER_ON_TARGET if codes[self.player] == _TARGET else _PLAYER

    # [row, column, t, t, 3] -> [row, t, column, t, 3]: pixel rows of a tile below each other.
    side, tile = self._size.side, all_tiles.shape[1]
    tiles = all_tiles[codes].reshape(side, side, tile, tile, 3)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(side * tile, side * tile, 3)

  def _observation(self) -> dict[str, np.ndarray]:
    board = np.zeros(self.observation_spec()["board"].shape, np.uint8)
    image = self._draw(_small_tiles())
    board[: image.shape[0], : image.shape[1]] = image

    return {"board": board}


@functools.cache
def _small_tiles() -> np.ndarray:
  """Returns the tiles at half their size, uint8 [7, 8, 8, 3]."""
  # The mean over blocks of 2x2 pixels.
  blocks = _tiles().reshape(7, OBSERVED_TILE, 2, OBSERVED_TILE, 2, 3)
  return blocks.mean(axis=(2, 4)).astype(np.uint8)


@functools.cache
def _tiles() -> np.ndarray:
  """Returns the drawing of every content of a cell, uint8 [7, 16, 16, 3].

  Each differs from the others in colour and in shape.
  """
  row, column = np.mgrid[:TILE, :TILE]
  y, x = row - 7.5, column - 7.5
  floor = np.broadcast_to(np.array([226, 214, 190], np.uint8), (TILE, TILE, 3))

  def paint(ground: np.ndarray, *layers: tuple[np.ndarray, _Colour]) -> np.ndarray:
    """Returns a copy of `ground` with (mask [16, 16], colour) painted over it in order."""
    tile = ground.copy()
    for mask, colour in layers:
      tile[mask] = colour
    return tile

  # Bricks of 4x8 pixels, every second row of them shifted by half a brick.
  mortar = (row % 4 == 3) | ((column + 4 * (row // 4 % 2)) % 8 == 7)
  wall = paint(floor, (row >= 0, (124, 60, 48)), (mortar, (70, 36, 32)))

  diamond = np.abs(x) + np.abs(y)
  target = paint(floor, (diamond <= 5, (214, 40, 60)), (diamond <= 2, (255, 240, 240)))

  # The player would hide the diamond: a target below him shows as a frame.
  edge = np.maximum(np.abs(x), np.abs(y))
  framed = paint(floor, (edge > 5, (214, 40, 60)))
  cross = np.abs(np.abs(x) - np.abs(y)) < 1

  def box(light: _Colour, dark: _Colour) -> np.ndarray:
    return paint(floor, (edge <= 6.5, light), ((edge <= 6.5) & (cross | (edge > 5)), dark))

  def player(ground: np.ndarray) -> np.ndarray:
    head = x**2 + (y + 4) ** 2 <= 9
    body = (np.abs(x) <= 5 - np.abs(y - 3)) & (y > -1)
    return paint(ground, (body, (30, 80, 200)), (head, (20, 30, 70)))

  free_box = box((236, 176, 60), (130, 84, 16))
  placed_box = box((96, 200, 90), (20, 100, 40))

  tiles = [floor, wall, target, free_box, placed_box, player(floor), player(framed)]
  return np.stack(tiles).astype(np.uint8)


def make(task: str) -> Sokoban:
  """Returns the environment of a size of boards, e.g. "boxes_2"."""
  return Sokoban(levels.SIZES[task])
