"""Where the first layer looks in a picture: its heads' weights from one position to the patches of a frame.

Legend: H heads, R x C patches of a frame.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax.interpret import samples, states
from gato_jax.interpret.rows import Head
from gato_jax.model import GatoConfig
from gato_jax.tokens.vocabulary import PATCH_INTERVALS, PATCH_SIDE, Kind


def choose(found: Sequence[samples.Sample], frames: int) -> list[samples.Sample]:
  """`frames` test samples of each task that shows pictures, of different episodes where there are so many."""
  chosen: dict[str, list[samples.Sample]] = {}
  for one in sorted((one for one in found if one.test), key=lambda one: one.episode):
    if _frame(one)[1] and len(chosen.setdefault(one.task, [])) < frames:
      chosen[one.task].append(one)
  return [one for of_task in chosen.values() for one in of_task]


def look(config: GatoConfig, params: Any, chosen: Sequence[samples.Sample]) -> tuple[list[Head], dict[str, np.ndarray]]:
  """A row a head and frame, and arrays "frame_I" uint8 [16 R, 16 C, 3] and "weights_I" float32 [H, R, C].

  The query is the last position of `Sample.observation`: in control the separator, from which the first action is
  predicted; in documents the last token that was read.
  """
  rows, arrays, numbers = [], {}, {}
  for index, sample in enumerate(chosen):
    (batch,) = samples.batches([sample], 1)
    query = sample.observation[-1]
    weights = np.asarray(_first(config, params, batch), np.float32)[0, :, query]  # [H, L]
    places, grid = _frame(sample)
    on_frame = weights[:, places]
    numbers[sample.task] = numbers.get(sample.task, -1) + 1
    for head, of_head in enumerate(on_frame):
      share = of_head / of_head.sum()
      entropy = float(-(share * np.log(np.maximum(share, 1e-30))).sum() / np.log(len(places)))
      even = len(places) / len(sample.observation)
      rows.append(Head(sample.task, numbers[sample.task], head, float(of_head.sum()), even, entropy))
    patches = sample.row["patches"][sample.row["patch_slots"][places]]
    arrays[f"frame_{index}"] = (
      patches.reshape(*grid, PATCH_SIDE, PATCH_SIDE, 3).swapaxes(1, 2).reshape(grid[0] * PATCH_SIDE, -1, 3)
    )
    arrays[f"weights_{index}"] = on_frame.reshape(len(on_frame), *grid)
  return rows, arrays


_first = functools.partial(jax.jit, static_argnums=0)(states.first_attention)


def _frame(sample: samples.Sample) -> tuple[np.ndarray, tuple[int, int]]:
  """Places of the patches of the last whole frame among the positions read, and (R, C); none: (empty, ())."""
  row: Mapping[str, np.ndarray] = sample.row
  places = sample.observation[row["kinds"][sample.observation] == Kind.PATCH]
  if not len(places):
    return places, ()
  low = row["patch_positions"][row["patch_slots"][places]]
  starts = np.flatnonzero((low[:, 0] == 0) & (low[:, 2] == 0))  # top left corners
  sizes = np.diff([*starts, len(places)])
  for start, size in reversed(list(zip(starts.tolist(), sizes.tolist(), strict=True))):
    one = low[start : start + size]
    grid = len(np.unique(one[:, 0])), len(np.unique(one[:, 2]))
    if grid[0] * grid[1] == size and one[-1, 1] == one[-1, 3] == PATCH_INTERVALS:
      return places[start : start + size], grid
  return places[:0], ()
