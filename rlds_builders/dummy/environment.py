"""A dot walks to the square whose colour the instruction names: text, image, discrete, continuous and nested fields."""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders import _wrappers

COLOURS = {"red": (220, 50, 50), "green": (60, 180, 75), "blue": (60, 90, 220)}
STEP_SIZE = 0.1
MOVES = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)
_HORIZON = 40
_REACHED = 0.1
_HEIGHT, _WIDTH = 32, 48  # not square: rows and columns mixed up would show


class Reach(_wrappers.Environment):
  """Reward is minus the distance to the goal; the episode ends when it is reached or after 40 steps."""

  def __init__(self, discrete: bool):
    self._discrete = discrete
    self._random = np.random.default_rng(0)
    self._position = np.zeros(2, np.float32)
    self._velocity = np.zeros(2, np.float32)
    self._squares = np.zeros([len(COLOURS), 2], np.float32)
    self._goal = 0
    self._step = 0
    self._success = False
    self._needs_reset = True  # dm_env: step() of a fresh environment begins an episode, as after the last step

  @property
  def goal(self) -> np.ndarray:
    """float32 [2]; privileged, for the expert."""
    return self._squares[self._goal]

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def observation_spec(self) -> dict[str, Any]:
    unit = dict(minimum=-1.0, maximum=1.0, dtype=np.float32)
    return {
      "body": {
        "position": specs.BoundedArray((2,), name="position", **unit),
        "velocity": specs.Array((2,), np.float32, name="velocity"),
      },
      "camera": specs.BoundedArray((_HEIGHT, _WIDTH, 3), np.uint8, 0, 255, name="camera"),
      "clock": specs.BoundedArray((1,), np.int32, 0, _HORIZON, name="clock"),
      "instruction": specs.StringArray((), name="instruction"),
    }

  def action_spec(self) -> specs.BoundedArray:
    if self._discrete:
      return specs.DiscreteArray(len(MOVES), np.int32, name="action")
    return specs.BoundedArray((2,), np.float32, -STEP_SIZE, STEP_SIZE, name="action")

  def reset(self) -> dm_env.TimeStep:
    self._position = self._random.uniform(-0.9, 0.9, 2).astype(np.float32)
    self._squares = self._random.uniform(-0.9, 0.9, [len(COLOURS), 2]).astype(np.float32)
    self._velocity = np.zeros(2, np.float32)
    self._goal = int(self._random.integers(len(COLOURS)))
    self._step, self._success, self._needs_reset = 0, False, False
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()
    move = MOVES[int(action)] * STEP_SIZE if self._discrete else np.asarray(action, np.float32)
    before = self._position
    self._position = np.clip(before + move, -1, 1).astype(np.float32)
    self._velocity = self._position - before
    self._step += 1
    distance = float(np.linalg.norm(self._position - self.goal))
    self._success = distance < _REACHED
    self._needs_reset = self._success or self._step >= _HORIZON
    if self._success:
      return dm_env.termination(-distance, self._observe())
    if self._step >= _HORIZON:
      return dm_env.truncation(-distance, self._observe())
    return dm_env.transition(-distance, self._observe())

  def episode_info(self) -> dict[str, Any]:
    return {"success": self._success}

  def _observe(self) -> dict[str, Any]:
    colour = list(COLOURS)[self._goal]
    return {
      "body": {"position": self._position.copy(), "velocity": self._velocity.copy()},
      "camera": self._draw(1),
      "clock": np.array([self._step], np.int32),
      "instruction": np.array(f"go to the {colour} square"),
    }

  def _draw(self, scale: int) -> np.ndarray:
    image = np.full([_HEIGHT * scale, _WIDTH * scale, 3], 30, np.uint8)
    for colour, square in zip(COLOURS.values(), self._squares, strict=True):
      self._dot(image, square, 3 * scale, colour)
    self._dot(image, self._position, 2 * scale, (255, 255, 255))
    return image

  @staticmethod
  def _dot(image: np.ndarray, at: np.ndarray, size: int, colour: tuple[int, int, int]) -> None:
    row, column = ((at[::-1] + 1) / 2 * (np.array(image.shape[:2]) - size)).astype(int)
    image[row : row + size, column : column + size] = colour

  def render(self) -> np.ndarray:
    return self._draw(4)


def make(task: str) -> Reach:
  """The environment of a task of DOMAIN.tasks."""
  return Reach(discrete=task == "reach_discrete")
