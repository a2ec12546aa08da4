"""Sokoban in NumPy: rules, rewards and drawing. Rewards as in Racaniere et al. 2017 and gym-sokoban."""

import functools
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders import _wrappers
from rlds_builders.sokoban import levels

STEP_REWARD, ON_TARGET_REWARD, OFF_TARGET_REWARD, SOLVED_REWARD = -0.1, 1.0, -1.0, 10.0
TILE = 16  # pixels of render()
OBSERVED_TILE = 8  # pixels of the observation: four cells are one image patch
_FLOOR, _WALL, _TARGET, _BOX, _BOX_ON_TARGET, _PLAYER, _PLAYER_ON_TARGET = range(7)


def make(task: str) -> "Sokoban":
  return Sokoban(levels.SIZES[task])


class Sokoban(_wrappers.Environment):
  """One size of board; a seed is a level.

  Attributes:
    level: the board at the episode's beginning.
    boxes: cells of the boxes now.
    player: cell of the player now.
  """

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
    """Begins an episode on a given board."""
    self.level, self.boxes, self.player = level, set(level.boxes), level.player
    self._steps = 0
    self._needs_reset = False
    codes = [_WALL if wall else _FLOOR for wall in level.walls]
    self._ground = [_TARGET if cell in level.targets else code for cell, code in enumerate(codes)]

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
    """Applies the rules to the board, without drawing it; returns the reward."""
    self._steps += 1
    reward = STEP_REWARD
    delta = self.level.deltas[action]
    to = self.player + delta
    if to in self.boxes:
      beyond = to + delta
      if self.level.walls[beyond] or beyond in self.boxes:
        return reward
      self.boxes.remove(to)
      self.boxes.add(beyond)
      targets = self.level.targets
      reward += ON_TARGET_REWARD * (beyond in targets) + OFF_TARGET_REWARD * (to in targets)
      reward += SOLVED_REWARD * self.solved
    if not self.level.walls[to]:
      self.player = to
    return reward

  @property
  def solved(self) -> bool:
    return self.boxes == self.level.targets

  def observation_spec(self) -> dict[str, specs.Array]:
    side = -(-OBSERVED_TILE * self._size.side // 16) * 16  # padded with black to whole patches
    return {"board": specs.BoundedArray((side, side, 3), np.uint8, 0, 255, name="board")}

  def action_spec(self) -> specs.DiscreteArray:
    return specs.DiscreteArray(len(levels.ACTIONS), dtype=np.int32, name="action")

  def episode_info(self) -> dict[str, Any]:
    return {"success": self.solved, "level": self.level.rows()}

  def render(self) -> np.ndarray:
    return self._draw(_tiles())

  def _draw(self, all_tiles: np.ndarray) -> np.ndarray:
    """all_tiles: uint8 [7, t, t, 3] -> uint8 [side * t, side * t, 3]."""
    side, tile = self._size.side, all_tiles.shape[1]
    codes = list(self._ground)
    for box in self.boxes:
      codes[box] = _BOX_ON_TARGET if codes[box] == _TARGET else _BOX
    codes[self.player] = _PLAYER_ON_TARGET if codes[self.player] == _TARGET else _PLAYER
    tiles = all_tiles[codes].reshape(side, side, tile, tile, 3)
    return tiles.transpose(0, 2, 1, 3, 4).reshape(side * tile, side * tile, 3)

  def _observation(self) -> dict[str, np.ndarray]:
    board = np.zeros(self.observation_spec()["board"].shape, np.uint8)
    image = self._draw(_small_tiles())
    board[: image.shape[0], : image.shape[1]] = image
    return {"board": board}


@functools.cache
def _small_tiles() -> np.ndarray:
  """uint8 [7, 8, 8, 3]: the tiles at half their size."""
  return _tiles().reshape(7, OBSERVED_TILE, 2, OBSERVED_TILE, 2, 3).mean(axis=(2, 4)).astype(np.uint8)


@functools.cache
def _tiles() -> np.ndarray:
  """uint8 [7, 16, 16, 3]: the drawing of every cell code; each differs from the others in colour and in shape."""
  row, column = np.mgrid[:TILE, :TILE]
  y, x = row - 7.5, column - 7.5
  floor = np.broadcast_to(np.uint8([226, 214, 190]), (TILE, TILE, 3))

  def paint(ground: np.ndarray, *layers: tuple[np.ndarray, tuple[int, int, int]]) -> np.ndarray:
    tile = ground.copy()
    for mask, colour in layers:
      tile[mask] = colour
    return tile

  mortar = (row % 4 == 3) | ((column + 4 * (row // 4 % 2)) % 8 == 7)
  wall = paint(floor, (row >= 0, (124, 60, 48)), (mortar, (70, 36, 32)))
  target = paint(floor, (np.abs(x) + np.abs(y) <= 5, (214, 40, 60)), (np.abs(x) + np.abs(y) <= 2, (255, 240, 240)))
  edge = np.maximum(np.abs(x), np.abs(y))
  framed = paint(floor, (edge > 5, (214, 40, 60)))  # the diamond would hide behind the player
  cross = np.abs(np.abs(x) - np.abs(y)) < 1

  def box(ground: np.ndarray, light: tuple[int, int, int], dark: tuple[int, int, int]) -> np.ndarray:
    return paint(ground, (edge <= 6.5, light), ((edge <= 6.5) & (cross | (edge > 5)), dark))

  def player(ground: np.ndarray) -> np.ndarray:
    head, body = x**2 + (y + 4) ** 2 <= 9, (np.abs(x) <= 5 - np.abs(y - 3)) & (y > -1)
    return paint(ground, (body, (30, 80, 200)), (head, (20, 30, 70)))

  boxes = box(floor, (236, 176, 60), (130, 84, 16)), box(floor, (96, 200, 90), (20, 100, 40))
  return np.stack([floor, wall, target, *boxes, player(floor), player(framed)]).astype(np.uint8)
