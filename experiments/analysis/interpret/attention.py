"""Attention maps: the weights of the first layer's heads on the patches of an image.

Legend: H heads, R x C patches of an image, L positions.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from experiments.analysis.interpret import samples, states
from experiments.analysis.interpret.rows import Head
from gato_jax.data.rows import RowBuilder
from gato_jax.model import GatoConfig
from gato_jax.tokens import layout
from gato_jax.tokens.vocabulary import PATCH_INTERVALS, PATCH_SIDE, Kind

first_attention = functools.partial(jax.jit, static_argnums=0)(states.first_attention)


def choose(drawn: Sequence[samples.Sample], frames: int) -> list[samples.Sample]:
  """Returns `frames` test samples of each task with images, of different episodes if possible."""
  by_task: dict[str, list[samples.Sample]] = {}
  # Sorting is stable, so the first samples of a task are of its first episode.
  for sample in sorted(drawn, key=lambda sample: sample.episode):
    if not sample.test or _last_image(sample)[1] is None:
      continue
    of_task = by_task.setdefault(sample.task, [])
    if len(of_task) < frames:
      of_task.append(sample)

  return [sample for of_task in by_task.values() for sample in of_task]


def look(
  config: GatoConfig, params: Any, chosen: Sequence[samples.Sample]
) -> tuple[list[Head], dict[str, np.ndarray]]:
  """Computes the attention of every head on the last image of each sample.

  The query is the last position of `Sample.observation`. In control that is the separator, from
  which the first action is predicted; in documents it is the last token read.

  Returns:
    One row per image and head, and arrays "frame_I", uint8 [16 R, 16 C, 3], and "weights_I",
    float32 [H, R, C].
  """
  rows: list[Head] = []
  arrays: dict[str, np.ndarray] = {}
  images_of_task: dict[str, int] = {}
  for index, sample in enumerate(chosen):
    image_index = images_of_task.get(sample.task, 0)
    images_of_task[sample.task] = image_index + 1

    (batch,) = samples.batches([sample], 1)
    query = sample.observation[-1]
    weights_HxL = np.asarray(first_attention(config, params, batch), np.float32)[0, :, query]
    positions, grid = _last_image(sample)
    assert grid is not None, f"{sample.task}: a sample without an image was chosen"
    on_image = weights_HxL[:, positions]

    even = len(positions) / len(sample.observation)
    for head, weights in enumerate(on_image):
      share = weights / weights.sum()
      # A share of 0 has no logarithm.
      entropy = -(share * np.log(np.maximum(share, 1e-30))).sum()
      rows.append(
        Head(
          task=sample.task,
          frame=image_index,
          head=head,
          on_patches=float(weights.sum()),
          even=even,
          entropy=float(entropy / np.log(len(positions))),
        )
      )

    patches = sample.row["patches"][sample.row["patch_slots"][positions]]
    # [R C, 16, 16, 3] -> [R, 16, C, 16, 3] -> [16 R, 16 C, 3].
    tiles = patches.reshape(*grid, PATCH_SIDE, PATCH_SIDE, 3).swapaxes(1, 2)
    arrays[f"frame_{index}"] = tiles.reshape(grid[0] * PATCH_SIDE, -1, 3)
    arrays[f"weights_{index}"] = on_image.reshape(len(on_image), *grid)

  return rows, arrays


def single_step(
  task_layout: layout.TokenLayout, observation: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
  """Returns a batch of one row (docs/batch.md): an observation and its separator.

  Args:
    task_layout: Layout of the task.
    observation: Flat key -> column of one step, [1, ...].
  """
  steps = task_layout.encode(observation, None)
  row = RowBuilder(steps.tokens.shape[1], component=0)
  row.append(
    segments=1,
    tokens=steps.tokens[0],
    labels=steps.tokens[0],
    kinds=steps.kinds[0],
    local_positions=steps.locals[0],
    targets=steps.targets[0],
  )
  row.set_patches(steps.patches[0], task_layout.patch_positions)

  return {name: array[None] for name, array in row.finish().items()}


def _last_image(sample: samples.Sample) -> tuple[np.ndarray, tuple[int, int] | None]:
  """Returns the positions of the patches of the last complete image, and its (R, C).

  An empty array and None if the observation has no complete image.
  """
  row = sample.row
  positions = sample.observation[row["kinds"][sample.observation] == Kind.PATCH]
  if not len(positions):
    return positions, None

  # Patch positions are (top, bottom, left, right), in intervals of the image. An image starts at
  # each patch whose top and left are 0.
  corners = row["patch_positions"][row["patch_slots"][positions]]
  starts = np.flatnonzero((corners[:, 0] == 0) & (corners[:, 2] == 0))
  bounds = [*starts.tolist(), len(positions)]

  for start, end in reversed(list(itertools.pairwise(bounds))):
    image = corners[start:end]
    grid = len(np.unique(image[:, 0])), len(np.unique(image[:, 2]))

    # The image is complete if no patch is missing and the last one is the bottom right corner.
    is_full = grid[0] * grid[1] == len(image)
    if is_full and image[-1, 1] == image[-1, 3] == PATCH_INTERVALS:
      return positions[start:end], grid

  return positions[:0], None
