"""Pieces of demonstrations that fill the memory before an episode (Reed et al. 2022, section 2.5)."""

from collections.abc import Sequence

import numpy as np

from gato_jax.agent.config import ActConfig
from gato_jax.demonstrations import Demonstration
from gato_jax.tokens import layout


class Prompts:
  """One task's prompts, all of `steps` steps; the episode's seed picks the demonstration and, for "uniform", the place.

  Attributes:
    layout: of the task that is shown: the one to be played, or another one, whose steps have other sizes.
    steps: of each prompt; 0: there are no prompts.
  """

  def __init__(self, shown: layout.TokenLayout, demonstrations: Sequence[Demonstration], room: int, config: ActConfig):
    """`room`: tokens that a prompt may take."""
    self.layout = shown
    self._demonstrations = demonstrations
    self._where = config.prompt
    shortest = min((len(action) for _, action in demonstrations), default=0)
    self.steps = min(room // shown.length, shortest)

  @property
  def length(self) -> int:
    """Tokens of each prompt."""
    return self.steps * self.layout.length

  @property
  def patch_count(self) -> int:
    """Patches of each prompt."""
    return self.steps * self.layout.patch_count

  def choose(self, seed: int) -> layout.Steps:
    """The encoded prompt of an episode."""
    observation, action = self._demonstrations[seed % len(self._demonstrations)]
    last = len(action) - self.steps
    draw = int(np.random.default_rng([seed, 1]).integers(last + 1))
    start = {"start": 0, "end": last, "uniform": draw}[self._where]
    piece = slice(start, start + self.steps)
    return self.layout.encode({key: column[piece] for key, column in observation.items()}, action[piece])
