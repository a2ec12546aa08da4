"""How much of a task there is to train on."""

import pathlib

from gato_jax.data import episodes
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, layout


def count(tfds_dir: pathlib.Path, task: str, keep: float) -> tuple[int, int]:
  """Episodes that count, or documents; and their tokens, patches included.

  Raises:
    GatoError: there is no dataset, or none that is prepared.
  """
  data = episodes.load(tfds_dir, task, keep)
  if isinstance(data, episodes.Documents):
    return int(data.documents[-1]) + 1, int(data.lengths.sum())
  tokens = layout.TokenLayout(data.spec, codec.default_text_codec(), max_local_positions=1 << 16).length
  return len(data.kept), int(data.lengths[data.kept].sum()) * tokens


def count_all(
  tfds_dir: pathlib.Path, tasks: list[str], keep: float
) -> tuple[dict[str, tuple[int, int]], dict[str, str]]:
  """Task -> counts, and of the tasks that cannot be counted: task -> why."""
  counts, faults = {}, {}
  for task in tasks:
    try:
      counts[task] = count(tfds_dir, task, keep)
    except GatoError as e:
      faults[task] = str(e)
  return counts, faults
