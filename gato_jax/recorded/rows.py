"""A row for each held-out recorded episode: the error of the actions, beside those of two actors that see nothing."""

import dataclasses
from collections.abc import Sequence

ROWS = "actions.jsonl"  # in a workdir


@dataclasses.dataclass(frozen=True)
class Row:
  """One held-out episode at one checkpoint.

  The errors are one for each number of the action, means over the measured steps: the absolute error in the action's
  units, or, of discrete actions, the share of steps with another choice than the recorded one.

  Attributes:
    task: "domain.task". step: of the checkpoint. data: fingerprint of the records.
    episode: its index in the dataset. temperature: of the actions; 0 takes the most likely ones.
    discrete: whether the action is. steps: how many were measured.
    error: the network's. copied: of the action of the step before; of the first step, which has none, as `constant`.
    constant: of the mean action of the training episodes, or, of discrete actions, the most frequent choice.
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
