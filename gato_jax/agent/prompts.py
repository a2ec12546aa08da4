"""Pieces of demonstrations that fill the memory before an episode (Reed et al. 2022, section 2.5)."""

from collections.abc import Sequence

from gato_jax import randomness
from gato_jax.agent.config import ActConfig
from gato_jax.demonstrations import Demonstration
from gato_jax.tokens import layout


class Prompts:
  """One task's prompts; the episode's seed picks the demonstration and, for "uniform", the place in it.

  Each prompt takes as many steps of its own demonstration as fit into the room for it.

  Attributes:
    layout: of the task that is shown: the one to be played, or another one, whose steps have other sizes.
    steps: of the longest prompt; 0: there are no prompts.
  """

  def __init__(self, shown: layout.TokenLayout, demonstrations: Sequence[Demonstration], room: int, config: ActConfig):
    """`room`: tokens that a prompt may take."""
    self.layout = shown
    self._demonstrations = demonstrations
    self._where = config.prompt
    longest = max((len(action) for _, action in demonstrations), default=0)
    self.steps = min(room // shown.length, longest)

  @property
  def length(self) -> int:
    """Tokens of the longest prompt."""
    return self.steps * self.layout.length

  @property
  def patch_count(self) -> int:
    """Patches of the longest prompt."""
    return self.steps * self.layout.patch_count

  def choose(self, seed: int) -> layout.Steps:
    """Returns the encoded prompt of an episode."""
    random = randomness.generator(f"prompt/{self.layout.spec.name}", seed)
    observation, action = self._demonstrations[int(random.integers(len(self._demonstrations)))]

    steps = min(self.steps, len(action))
    last = len(action) - steps
    start = {"start": 0, "end": last, "uniform": int(random.integers(last + 1))}[self._where]
    piece = slice(start, start + steps)
    return self.layout.encode({key: column[piece] for key, column in observation.items()}, action[piece])
