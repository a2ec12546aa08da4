"""A grid of 9 x 9 cells, one of which is the goal; the observation has the agent's cell only."""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from rlds_builders.base import wrappers

SIDE = 9  # cells
HORIZON = 24  # steps; the farthest cells are 16 moves apart

# Changes (column, row) of the actions: stay, right, left, down, up.
MOVES = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])

# The 81 cells in an order drawn once; the last ones are the goals of the task "new".
_ORDER = np.random.default_rng(81).permutation(SIDE * SIDE)
GOALS = {"known": _ORDER[:65], "new": _ORDER[65:]}

_CELL_PIXELS = 16
_COLOURS = {"floor": (235, 235, 235), "goal": (60, 180, 75), "agent": (220, 50, 50)}


class HiddenGoal(wrappers.Environment):
  """An agent in a grid that is rewarded in the goal's cell, wherever that is.

  The reward is 1 for every step that ends in the goal's cell, so the episode goes on there. Goals
  are drawn from the task's own; `episode_info()` names the goal as the episode's group.

  Observation:

    {"cell": int32 [2]}    # column and row of the agent
  """

  def __init__(self, goals: np.ndarray):
    """Initialises the environment.

    Args:
      goals: Int [n], cells, of which every episode draws its goal; cell = row * SIDE + column.
    """
    self._goals = goals
    self._random = np.random.default_rng(0)
    self._cell = np.zeros(2, np.int32)
    self._step = 0
    self._reached = False
    self._needs_reset = True
    self.goal = np.zeros(2, np.int32)  # privileged: for the expert, not observed

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def observation_spec(self) -> dict[str, Any]:
    return {"cell": specs.BoundedArray((2,), np.int32, 0, SIDE - 1, name="cell")}

  def action_spec(self) -> specs.DiscreteArray:
    return specs.DiscreteArray(len(MOVES), np.int32, name="action")

  def reset(self) -> dm_env.TimeStep:
    self.goal = _cell(self._random.choice(self._goals).item())

    # Never in the goal's cell, where there would be nothing to do.
    self._cell = self.goal
    while np.array_equal(self._cell, self.goal):
      self._cell = _cell(self._random.integers(SIDE * SIDE).item())

    self._step = 0
    self._reached = False
    self._needs_reset = False
    return dm_env.restart(self._observe())

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    if self._needs_reset:
      return self.reset()

    self._cell = np.clip(self._cell + MOVES[int(action)], 0, SIDE - 1).astype(np.int32)
    self._step += 1

    is_there = np.array_equal(self._cell, self.goal)
    self._reached = self._reached or is_there

    self._needs_reset = self._step == HORIZON
    step = dm_env.truncation if self._needs_reset else dm_env.transition
    return step(float(is_there), self._observe())

  def episode_info(self) -> dict[str, Any]:
    column, row = self.goal.tolist()
    return {"success": self._reached, "group": f"goal {column},{row}"}

  def render(self) -> np.ndarray:
    image = np.empty([SIDE, SIDE, 3], np.uint8)
    image[:] = _COLOURS["floor"]
    for name, (column, row) in (("goal", self.goal), ("agent", self._cell)):
      image[row, column] = _COLOURS[name]
    return image.repeat(_CELL_PIXELS, axis=0).repeat(_CELL_PIXELS, axis=1)

  def _observe(self) -> dict[str, np.ndarray]:
    return {"cell": self._cell.copy()}


def _cell(index: int) -> np.ndarray:
  """Returns (column, row) of a cell, int32 [2]."""
  row, column = divmod(index, SIDE)
  return np.array([column, row], np.int32)


def make(task: str) -> HiddenGoal:
  """Returns the environment of "known", the 65 goals that train, or of the 16 "new" ones."""
  return HiddenGoal(GOALS[task])
