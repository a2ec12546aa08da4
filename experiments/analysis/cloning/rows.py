"""Rows of a clone along its expert's episodes, which reports read without TensorFlow."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

ROWS = "cloning.jsonl"  # in a workdir


@dataclasses.dataclass(frozen=True)
class CloningRow:
  """The action tokens of one task at one place of their samples.

  Attributes:
    task: "domain.task".
    step: Training step of the checkpoint.
    split: "validation", or "train" where the run holds nothing out.
    place: Number of earlier steps of the sample, without those of a prompt.
    tokens: Number of action tokens.
    loss: Mean loss of a token, in nats.
    copied: Share of tokens whose most likely prediction is the token of the step before; None at
      place 0.
    repeated: Share of tokens whose label is the token of the step before; None at place 0.
  """

  task: str
  step: int
  split: str
  place: int
  tokens: int
  loss: float
  copied: float | None
  repeated: float | None


def by_task(rows: Sequence[CloningRow]) -> list[dict[str, Any]]:
  """Returns a line for each task: loss at the first and at the last place, and the copy rates."""
  lines = []
  for task in sorted({row.task for row in rows}):
    places = sorted((row for row in rows if row.task == task), key=lambda row: row.place)
    later = [row for row in places if row.place]
    weights = [row.tokens for row in later]

    line: dict[str, Any] = {
      "task": task,
      "places": len(places),
      "loss, first step": places[0].loss,
      "loss, last step": places[-1].loss,
    }
    for name in ("copied", "repeated"):
      values = [getattr(row, name) for row in later]
      line[name] = float(np.average(values, weights=weights)) if later else None
    lines.append(line)

  return lines
