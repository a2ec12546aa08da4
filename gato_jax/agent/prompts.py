"""Prompts: demonstrations before an episode (Reed et al. 2022, section 2.5)."""

from collections.abc import Sequence

from gato_jax import randomness
from gato_jax.agent.config import ActConfig
from gato_jax.data.demonstrations import Demonstration
from gato_jax.tokens import layout


class Prompts:
  """Prompts of one task.

  An episode's seed picks the demonstration and, for "uniform", the first step. A prompt takes as
  many steps of its demonstration as fit.

  Attributes:
    layout: Layout of the demonstrated task: the one that is played, or another one, whose steps
      have other sizes.
    steps: Steps of the longest prompt; 0: there are no prompts.
  """

  def __init__(
    self,
    shown: layout.TokenLayout,
    demonstrations: Sequence[Demonstration],
    room: int,
    config: ActConfig,
  ):
    """Prepares prompts.

    Args:
      shown: Layout of the demonstrated task.
      demonstrations: Episodes to take prompts from.
      room: Tokens that a prompt may take.
      config: Settings of acting.
    """
    self.layout = shown
    self._demonstrations = demonstrations
    self._prompt = config.prompt

    longest = max((len(action) for _, action in demonstrations), default=0)
    self.steps = min(room // shown.length, longest)

  @property
  def length(self) -> int:
    """Tokens of the longest prompt."""
    return self.steps * self.layout.length

  @property
  def patch_count(self) -> int:
    """Image patches of the longest prompt."""
    return self.steps * self.layout.patch_count

  def choose(self, seed: int) -> layout.Steps:
    """Returns the encoded prompt of an episode."""
    random = randomness.generator(f"prompt/{self.layout.spec.name}", seed)
    observation, action = self._demonstrations[int(random.integers(len(self._demonstrations)))]

    # A demonstration may be shorter than the longest prompt; then it is shown completely.
    steps = min(self.steps, len(action))
    last_start = len(action) - steps
    starts = {"start": 0, "end": last_start, "uniform": int(random.integers(last_start + 1))}
    start = starts[self._prompt]

    piece = slice(start, start + steps)
    piece_observation = {key: column[piece] for key, column in observation.items()}
    return self.layout.encode(piece_observation, action[piece])
