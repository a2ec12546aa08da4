"""Prompts: demonstrations before an episode (Reed et al. 2022, section 2.5)."""

from collections.abc import Sequence

import numpy as np

from gato_jax import randomness
from gato_jax.agent.config import ActConfig
from gato_jax.data.demonstrations import Demonstration
from gato_jax.errors import GatoError
from gato_jax.tokens import layout


class Prompts:
  """Prompts of one task.

  An episode's seed picks the demonstration and, for "uniform", the first step. A prompt takes as
  many steps of its demonstration as fit.

  Attributes:
    layout: Layout of the demonstrated task: the one that is played, or another one, whose steps
      have other sizes.
    steps: Steps of the longest prompt; 0: there are no prompts.
    are_demonstrations: False where the episode's own past takes the place of a prompt.
  """

  are_demonstrations = True

  def __init__(
    self,
    shown: layout.TokenLayout,
    demonstrations: Sequence[Demonstration],
    room: int,
    config: ActConfig,
    groups: Sequence[int] = (),
  ):
    """Prepares prompts.

    Args:
      shown: Layout of the demonstrated task.
      demonstrations: Episodes to take prompts from.
      room: Tokens that a prompt may take.
      config: Settings of acting.
      groups: Number of each demonstration's group (prepared_format.group_id); () for no groups.
    """
    self.layout = shown
    self._demonstrations = demonstrations
    self._prompt = config.prompt
    self._prompt_group = config.prompt_group

    self._groups = np.array(groups, np.int64)

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

  def choose(self, seed: int, group: int = 0) -> layout.Steps:
    """Returns the encoded prompt of an episode.

    Args:
      seed: The episode's seed.
      group: Number of its group (prepared_format.group_id); 0 for none.

    Raises:
      GatoError: There is no demonstration of the group that act.prompt_group asks for.
    """
    random = randomness.generator(f"prompt/{self.layout.spec.name}", seed)
    candidates = self._of_group(group)
    observation, action = candidates[int(random.integers(len(candidates)))]

    # A demonstration may be shorter than the longest prompt; then it is shown completely.
    steps = min(self.steps, len(action))
    last_start = len(action) - steps
    starts = {"start": 0, "end": last_start, "uniform": int(random.integers(last_start + 1))}

    if self._prompt == "spread":
      piece = layout.spread_steps(len(action), steps)
    else:
      piece = starts[self._prompt] + np.arange(steps)

    piece_observation = {key: column[piece] for key, column in observation.items()}
    return self.layout.encode(piece_observation, action[piece])

  def _of_group(self, group: int) -> Sequence[Demonstration]:
    """Returns the demonstrations that an episode of a group may be shown."""
    if not group or self._prompt_group == "any":
      return self._demonstrations

    is_same = self._prompt_group == "same"
    positions = np.flatnonzero((self._groups == group) == is_same)
    candidates = [self._demonstrations[position] for position in positions]
    if not candidates:
      whose = "this episode's group" if is_same else "another group than this episode's"
      raise GatoError(
        f"{self.layout.spec.name}: no demonstration is of {whose}; act.prompt_group=any shows "
        "those of all groups"
      )
    return candidates
