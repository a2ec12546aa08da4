"""The bot that comes with minigrid: plans by a stack of subgoals on the true state."""

import dm_env
import numpy as np
from absl import logging
from minigrid.core.actions import Actions
from minigrid.utils.baby_ai_bot import BabyAIBot, DisappearedBoxError, Subgoal

from rlds_builders.babyai.environment import BabyAI

_SUBGOALS_PER_STEP = 500  # a step of the listed levels pushes a handful


class _StuckError(Exception):
  """The bot pushes subgoals without end, as it does on some seeds of UnlockToUnlock."""


class _CountingStack(list):
  """The bot's stack of subgoals with a limit on pushes.

  The bot's planning sometimes never returns. All such loops push subgoals, so the limit ends them.
  """

  pushes = 0

  def append(self, subgoal: Subgoal) -> None:
    self.pushes += 1
    if self.pushes > _SUBGOALS_PER_STEP:
      raise _StuckError(f"{_SUBGOALS_PER_STEP} subgoals in one step")

    super().append(subgoal)


class Bot:
  """Acts by minigrid's bot.

  Where the bot gives up, does nothing until the step limit, so that the episode is a failure.
  """

  def __init__(self, environment: BabyAI, task: str):
    self._environment = environment
    self._task = task
    self._seed = 0
    self._bot: BabyAIBot | None = None
    self._previous: Actions | None = None

  def reset(self, seed: int) -> None:
    """Reads the new level; to be called after the environment's reset()."""
    self._seed = seed
    self._bot = BabyAIBot(self._environment.gym)
    self._bot.stack = _CountingStack(self._bot.stack)
    self._previous = None

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # the bot reads the environment

    if self._bot is not None:
      self._bot.stack.pushes = 0
      try:
        self._previous = self._bot.replan(self._previous)

      # The bot raises one of these when it cannot go on.
      except (AssertionError, DisappearedBoxError, _StuckError) as e:
        logging.warning(
          "babyai.%s, seed %d: the bot gives up (%s); the episode will fail",
          self._task,
          self._seed,
          e,
        )
        self._bot = None

    return np.asarray(Actions.done if self._bot is None else self._previous, np.int32)

  def executed(self, action: np.ndarray) -> None:
    """Takes note that another action than the bot's was executed: it plans from there."""
    self._previous = Actions(int(action))


def make(environment: BabyAI, task: str) -> Bot:
  """Returns the bot of a level, for an environment of the same level."""
  return Bot(environment, task)
