"""How much of a task there is to train on."""

import pathlib
from typing import NamedTuple

from gato_jax.data import episodes
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout


class Count(NamedTuple):
  """What a dataset has.

  Attributes:
    kept: episodes whose return is high enough to train on, or documents. tokens: theirs, patches included.
    episodes: all of them, or documents.
  """

  kept: int
  tokens: int
  episodes: int


def count(tfds_dir: pathlib.Path, task: str, keep: float) -> Count:
  """Counts a task's prepared dataset.

  Raises:
    GatoError: there is no dataset, or none that is prepared.
  """
  data = episodes.load(tfds_dir, task, keep)
  if isinstance(data, episodes.Documents):
    documents = int(data.documents[-1]) + 1
    return Count(documents, int(data.lengths.sum()), documents)
  tokens = layout.TokenLayout(data.spec, codec.default_text_codec(), max_local_positions=1 << 16).length
  return Count(len(data.kept), int(data.lengths[data.kept].sum()) * tokens, len(data))


def count_all(tfds_dir: pathlib.Path, tasks: list[str], keep: float) -> tuple[dict[str, Count], dict[str, str]]:
  """Task -> counts, and of the tasks that cannot be counted: task -> why."""
  counts, faults = {}, {}
  for task in tasks:
    try:
      counts[task] = count(tfds_dir, task, keep)
    except GatoError as e:
      faults[task] = str(e)
  return counts, faults
