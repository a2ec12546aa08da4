"""The steps that the KV cache holds before a step of a recorded episode."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.tokens import layout


class History:
  """The steps that the KV cache holds before a step, in the place of a prompt.

  The engine asks for a prompt by the seed of an episode. Here every step is an episode of its own,
  and the seed is the index of the step.

  Attributes:
    layout: Layout of the task.
    steps: Largest number of steps.
  """

  are_demonstrations = False

  def __init__(self, prompts: Any, memory_length: int, memory_steps: int, history_steps: int):
    """Prepares the histories of one task.

    Args:
      prompts: The task's agent.prompts.Prompts.
      memory_length: Length of the KV cache in tokens (model.memory_length).
      memory_steps: Steps after which acting empties the cache (act.memory_steps); 0 for never.
      history_steps: Steps that an action depends on (act.history_steps); 0 for all.
    """
    self.layout: layout.TokenLayout = prompts.layout
    self.steps = memory_length // self.layout.length
    if memory_steps:
      # The step that is answered is one of `memory_steps` and no part of its own history.
      self.steps = min(self.steps, prompts.steps + memory_steps - 1)
    if history_steps:
      self.steps = min(self.steps, history_steps - 1)

    self._prompts = prompts
    self._memory_steps = memory_steps
    self._episode: tuple[int, Mapping[str, np.ndarray], np.ndarray] | None = None

  @property
  def length(self) -> int:
    """Largest number of tokens."""
    return self.steps * self.layout.length

  @property
  def patch_count(self) -> int:
    """Largest number of image patches."""
    return self.steps * self.layout.patch_count

  def follow(self, number: int, observation: Mapping[str, np.ndarray], action: np.ndarray) -> None:
    """Takes the histories from an episode from now on.

    Args:
      number: Seed that picks the episode's prompt.
      observation: Flat key -> column [n, ...].
      action: [n, ...].
    """
    self._episode = number, observation, action

  def choose(self, seed: int, group: int = 0) -> layout.Steps:
    """Returns the encoded steps before step `seed` of the episode, after its prompt."""
    del group  # recorded episodes name none
    assert self._episode is not None, "follow an episode first"
    number, observation, action = self._episode

    # Acting empties its cache every `memory_steps` steps.
    first = 0
    if self._memory_steps:
      first = seed // self._memory_steps * self._memory_steps

    # This step is encoded, too, since nothing can be encoded of no steps; it is cut off below.
    piece = slice(first, seed + 1)
    piece_observation = {key: column[piece] for key, column in observation.items()}
    parts = [self.layout.encode(piece_observation, action[piece])]
    if self._prompts.steps:
      parts.insert(0, self._prompts.choose(number))

    columns = {}
    for field in dataclasses.fields(layout.Steps):
      before = np.concatenate([getattr(part, field.name) for part in parts])[:-1]
      columns[field.name] = before[max(0, len(before) - self.steps) :]

    return layout.Steps(**columns)
