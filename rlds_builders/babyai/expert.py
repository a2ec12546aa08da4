"""The bot that comes with minigrid: plans by a stack of subgoals on the environment's inner state."""

import dm_env
import numpy as np
from absl import logging
from minigrid.core.actions import Actions
from minigrid.utils.baby_ai_bot import BabyAIBot, DisappearedBoxError, Subgoal

from rlds_builders.babyai.environment import BabyAI

_SUBGOALS_PER_STEP = 500  # a step of the listed levels pushes a handful


class _StuckError(Exception):
  """The bot pushes subgoals without end, as it does on some seeds of UnlockToUnlock."""


class _Stack(list):
  """The bot's subgoals: planning loops of the bot that never return all push, so pushes are counted."""

  pushes = 0

  def append(self, subgoal: Subgoal) -> None:
    self.pushes += 1
    if self.pushes > _SUBGOALS_PER_STEP:
      raise _StuckError(f"{_SUBGOALS_PER_STEP} subgoals in one step")
    super().append(subgoal)


class Bot:
  """Acts by minigrid's bot; where the bot gives up, does nothing until the step limit, so the episode is a failure."""

  def __init__(self, environment: BabyAI, task: str):
    self._environment = environment
    self._task = task
    self._seed = 0
    self._bot: BabyAIBot | None = None
    self._previous: Actions | None = None

  def reset(self, seed: int) -> None:
    """Call after the environment's reset: the bot reads the new level."""
    self._seed = seed
    self._bot = BabyAIBot(self._environment.gym)
    self._bot.stack = _Stack(self._bot.stack)
    self._previous = None

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    if self._bot is not None:
      self._bot.stack.pushes = 0
      try:
        self._previous = self._bot.replan(self._previous)
      except (AssertionError, DisappearedBoxError, _StuckError) as e:  # how the bot says that it cannot go on
        logging.warning("babyai.%s, seed %d: the bot gives up (%s); the episode will fail", self._task, self._seed, e)
        self._bot = None
    return np.asarray(Actions.done if self._bot is None else self._previous, np.int32)


def make(environment: BabyAI, task: str) -> Bot:
  return Bot(environment, task)
