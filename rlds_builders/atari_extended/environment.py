"""Games whose mode and difficulty are drawn for every episode."""

import itertools
from typing import Any

from rlds_builders.atari import environment as atari

# Modes that are left out: README says what is wrong with them.
_LEFT_OUT: dict[str, tuple[int, ...]] = {}


class AtariExtended(atari.Atari):
  """A game in any of its modes and difficulties; which, stands in episode_info()."""

  def episode_info(self) -> dict[str, Any]:
    """mode, difficulty: of this episode, as ALE numbers them."""
    return {"mode": self.mode, "difficulty": self.difficulty}


def make(task: str) -> AtariExtended:
  """The environment of a game, e.g. "frogger"."""
  emulator = atari.load(task)
  modes = [mode for mode in emulator.getAvailableModes() if mode not in _LEFT_OUT.get(task, ())]
  return AtariExtended(task, tuple(itertools.product(modes, emulator.getAvailableDifficulties())))
