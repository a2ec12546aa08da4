"""A dot walks to the square whose colour the instruction names.

The smallest environment that has every kind of field: an image, text, discrete and continuous
numbers, and a nested dict.
"""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.base import wrappers

COLOURS = {"red": (220, 50, 50), "green": (60, 180, 75), "blue": (60, 90, 220)}
STEP_SIZE = 0.1

# Directions (x, y) of the discrete actions: stay, right, left, up, down.
MOVES = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)

_HORIZON = 40  # steps
_GOAL_RADIUS = 0.1

# Not square, so that code that swaps rows and columns fails.
_HEIGHT, _WIDTH = 32, 48


class Reach(wrappers.Environment):
  """A point in the square [-1, 1] x [-1, 1] that moves to one of three coloured squares.

  The reward is minus the distance to the goal. An episode ends when the goal is reached, or is
  truncated after 40 steps.

  Observation:

    {
      "body": {
        "position": float32 [2],       # (x, y) in [-1, 1]
        "velocity": float32 [2],       # the last change of position
      },
      "camera": uint8 [32, 48, 3],
      "clock": int32 [1],              # steps since reset()
      "instruction": str,              # "go to the red square"
    }
  """

  def __init__(self, discrete: bool):
    """Initialises the environment.

    Args:
      discrete: True for one of five moves as action, False for an offset, float32 [2].
    """
    self._discrete = discrete
    self._random = np.random.default_rng(0)

    self._position = np.zeros(2, np.float32)
    self._velocity = np.zeros(2, np.float32)
    self._squares = np.zeros([len(COLOURS), 2], np.float32)
    self._goal = 0
    self._step = 0
    self._success = False

    # The contract of dm_env: step() begins an episode in a new environment and after a last step.
    self._needs_reset = True

  @property
  def goal(self) -> np.ndarray:
    """Position of the named square, float32 [2]; privileged: for the expert, not observed."""
    return self._squares[self._goal]

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def observation_spec(self) -> dict[str, Any]:
    return {
      "body": {
        # Bounds inside [-1, 1] are kept as they are, without bounds numbers are mu-law encoded.
        "position": specs.BoundedArray((2,), np.float32, -1.0, 1.0, name="position"),
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

    self._step = 0
    self._success = False
    self._needs_reset = False

    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    if self._discrete:
      offset = MOVES[int(action)] * STEP_SIZE
    else:
      offset = np.asarray(action, np.float32)

    # Walls stop the dot: the velocity is what it moved, not what it wanted to move.
    previous = self._position
    self._position = np.clip(previous + offset, -1, 1).astype(np.float32)
    self._velocity = self._position - previous
    self._step += 1

    distance = float(np.linalg.norm(self._position - self.goal))
    self._success = distance < _GOAL_RADIUS
    self._needs_reset = self._success or self._step >= _HORIZON

    # A time limit truncates (discount 1): the state is not worth less because time is up.
    if self._success:
      return dm_env.termination(-distance, self._observe())
    if self._step >= _HORIZON:
      return dm_env.truncation(-distance, self._observe())

    return dm_env.transition(-distance, self._observe())

  def episode_info(self) -> dict[str, Any]:
    return {"success": self._success}

  def render(self) -> np.ndarray:
    return self._draw(scale=4)

  def _observe(self) -> dict[str, Any]:
    colour = list(COLOURS)[self._goal]

    # Copies: an observation must not change when the environment steps on.
    return {
      "body": {"position": self._position.copy(), "velocity": self._velocity.copy()},
      "camera": self._draw(scale=1),
      "clock": np.array([self._step], np.int32),
      "instruction": np.array(f"go to the {colour} square"),
    }

  def _draw(self, scale: int) -> np.ndarray:
    """Returns the squares and the dot, uint8 [32 * scale, 48 * scale, 3]."""
    image = np.full([_HEIGHT * scale, _WIDTH * scale, 3], 30, np.uint8)

    for colour, position in zip(COLOURS.values(), self._squares, strict=True):
      _draw_square(image, position, side=3 * scale, colour=colour)
    _draw_square(image, self._position, side=2 * scale, colour=(255, 255, 255))

    return image


def _draw_square(
  image: np.ndarray, position: np.ndarray, side: int, colour: tuple[int, int, int]
) -> None:
  # (x, y) in [-1, 1] becomes the (row, column) of the upper left corner, hence the reversal.
  free = np.array(image.shape[:2]) - side
  row, column = ((position[::-1] + 1) / 2 * free).astype(int)

  image[row : row + side, column : column + side] = colour


def make(task: str) -> Reach:
  """Returns the environment of a task of DOMAIN.tasks."""
  return Reach(discrete=task == "reach_discrete")
