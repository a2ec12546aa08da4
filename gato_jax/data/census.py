"""Counts of the episodes, documents and tokens that a task has for training."""

import pathlib
from typing import NamedTuple

from gato_jax.data import prepared
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout


class Count(NamedTuple):
  """Size of a dataset.

  Attributes:
    kept: Episodes whose return is high enough to train on, or documents.
    tokens: Tokens of these, patches included.
    episodes: All episodes, or documents.
  """

  kept: int
  tokens: int
  episodes: int


def count(tfds_dir: pathlib.Path, task: str, keep: float) -> Count:
  """Counts a task's prepared dataset.

  Raises:
    GatoError: There is no dataset, or none that is prepared.
  """
  data = prepared.load(tfds_dir, task, keep)

  if isinstance(data, prepared.PreparedDocuments):
    # A document may be several sequences, which are in the order of the documents.
    documents = int(data.documents[-1]) + 1
    return Count(kept=documents, tokens=int(data.lengths.sum()), episodes=documents)

  # A count is possible whatever the network's table of local positions holds.
  token_layout = layout.TokenLayout(
    data.spec, codec.default_text_codec(), max_local_positions=1 << 16
  )
  steps = int(data.lengths[data.kept].sum())
  return Count(kept=len(data.kept), tokens=steps * token_layout.length, episodes=len(data))


def count_all(
  tfds_dir: pathlib.Path, tasks: list[str], keep: float
) -> tuple[dict[str, Count], dict[str, str]]:
  """Counts the prepared datasets of several tasks.

  Returns:
    Task -> counts, and task -> error message for the tasks that cannot be counted.
  """
  counts = {}
  errors = {}
  for task in tasks:
    try:
      counts[task] = count(tfds_dir, task, keep)
    except GatoError as e:
      errors[task] = str(e)

  return counts, errors
