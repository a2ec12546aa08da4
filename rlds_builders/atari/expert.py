"""A planner on copies of the emulator's state, with more or less thought per game."""

import dm_env
import numpy as np

from rlds_builders.atari import environment as atari_environment
from rlds_builders.atari import search

# What differs from search.Budget.
_BUDGETS: dict[str, dict[str, float]] = {}


class Planner:
  """Plans every few steps and holds the action in between."""

  def __init__(self, environment: atari_environment.Atari, budget: search.Budget):
    self._environment = environment
    self._repeat = budget.repeat
    emulator = atari_environment.load(environment.game)
    emulator.reset_game()
    emulator.act(0)  # Q*bert's and Tetris' states are exact only in an emulator that has played a frame
    self._search = search.Search(emulator, atari_environment.FRAME_SKIP, budget)
    self._step, self._action = 0, 0

  def reset(self, seed: int) -> None:
    self._search.reset(seed)
    self._step = 0

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    if self._step % self._repeat == 0:
      self._action = self._search.plan(self._environment.emulator.cloneState())
    self._step += 1
    return np.int32(self._action)


def make(environment: atari_environment.Atari, task: str) -> Planner:
  """The planner of an environment of this domain or of atari_extended."""
  return Planner(environment, search.Budget(**_BUDGETS.get(task, {})))
