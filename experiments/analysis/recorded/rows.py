"""Rows of recorded episodes: errors of the network, and of two actors that see nothing."""

import dataclasses
from collections.abc import Sequence

ROWS = "actions.jsonl"  # in a workdir
VIDEOS = "recorded"  # in a workdir: a held-out episode of each task, <task>.mp4


@dataclasses.dataclass(frozen=True)
class ActionErrorRow:
  """One episode of the validation split at one checkpoint.

  There is an error for each number of the action, a mean over the measured steps. It is the
  absolute error in the action's units, or, for discrete actions, the share of steps in which the
  choice is another one than the recorded one.

  Attributes:
    task: "domain.task".
    step: Training step of the checkpoint.
    data: Fingerprint of the records.
    episode: Index of the episode in the dataset.
    temperature: Temperature of the actions; 0 takes the most likely ones.
    discrete: True when the action is discrete.
    steps: Number of measured steps.
    error: Errors of the network.
    copied: Errors of the action of the step before; the first step, which has none, takes the
      action of `constant`.
    constant: Errors of the mean action of the training episodes, or, for discrete actions, of the
      most frequent choice.
  """

  task: str
  step: int
  data: str
  episode: int
  temperature: float
  discrete: bool
  steps: int
  error: Sequence[float]
  copied: Sequence[float]
  constant: Sequence[float]
