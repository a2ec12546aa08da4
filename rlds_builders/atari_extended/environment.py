"""Atari games whose mode and difficulty are drawn for every episode."""

import itertools
from typing import Any

from rlds_builders.worlds.arcade import environment as arcade_environment


class AtariExtended(arcade_environment.Atari):
  """A game in any of its modes and difficulties."""

  def episode_info(self) -> dict[str, Any]:
    """Returns "mode" and "difficulty" of this episode, as ALE numbers them."""
    return {"mode": self.mode, "difficulty": self.difficulty}


def make(task: str) -> AtariExtended:
  """Returns the environment of a game, e.g. "frogger"."""
  emulator = arcade_environment.load(task)
  modes = emulator.getAvailableModes()
  difficulties = emulator.getAvailableDifficulties()

  return AtariExtended(task, tuple(itertools.product(modes, difficulties)))
