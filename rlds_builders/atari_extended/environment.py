"""Games whose mode and difficulty are drawn for every episode."""

import itertools
from typing import Any

from rlds_builders.atari import environment as atari


class AtariExtended(atari.Atari):
  """A game in any of its modes and difficulties; which, stands in episode_info()."""

  def episode_info(self) -> dict[str, Any]:
    """mode, difficulty: of this episode, as ALE numbers them."""
    return {"mode": self.mode, "difficulty": self.difficulty}


def make(task: str) -> AtariExtended:
  """The environment of a game, e.g. "frogger"."""
  emulator = atari.load(task)
  modes, difficulties = emulator.getAvailableModes(), emulator.getAvailableDifficulties()
  return AtariExtended(task, tuple(itertools.product(modes, difficulties)))
