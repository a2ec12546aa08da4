"""Buckets: tasks of about the same size share a compiled step, padded to common sizes.

All that tells one task of a bucket from another lies in tables, indexed by the row's task, so a
batch may mix the tasks of a bucket.

Legend of shapes:
  B: rows of a batch
  G: tasks of the bucket
  T: observation tokens and separator
  P: image patches
  A: action tokens
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.tokens import codec, layout, packing, vocabulary
from gato_jax.tokens.vocabulary import Kind


@dataclasses.dataclass(frozen=True)
class Bucket:
  """Sizes that a compiled step is specialised to, each the largest among the bucket's tasks.

  Attributes:
    tasks: Names ("domain.task") of the tasks.
    tokens: T, observation tokens and the separator.
    patches: P, image patches of an observation.
    actions: A, action tokens.
    columns: Token ids whose logits are computed: the bins if an action is continuous, then the
      discrete ids up to the largest legal one.
  """

  tasks: tuple[str, ...]
  tokens: int
  patches: int
  actions: int
  columns: tuple[range, ...]

  @property
  def positions(self) -> int:
    """Positions of a step.

    They are the last action token of the step before, the observation, the separator, and all
    action tokens but the last.
    """
    return self.tokens + self.actions

  def __str__(self) -> str:
    return (
      f"{self.tokens} tokens, {self.patches} patches, {self.actions} action tokens"
      f" ({len(self.tasks)} tasks)"
    )


def group(layouts: Mapping[str, layout.TokenLayout]) -> list[Bucket]:
  """Groups tasks into buckets.

  Tasks of a bucket differ by less than a factor of two in each size. Padding is to the largest of
  them, so a task alone has its own sizes.
  """
  tasks_by_size: dict[tuple[int, ...], list[str]] = {}

  for task, task_layout in sorted(layouts.items()):
    rounded_sizes = (
      _round_up(task_layout.observation_length + 1, smallest=16),
      _round_up(task_layout.patch_count, smallest=16),
      _round_up(task_layout.action.size, smallest=1),
    )
    tasks_by_size.setdefault(rounded_sizes, []).append(task)

  return [
    _bucket_of([layouts[task] for task in tasks]) for _, tasks in sorted(tasks_by_size.items())
  ]


def _round_up(size: int, smallest: int) -> int:
  """Returns the power of two at or above `size`, at least `smallest`; 0 stays 0."""
  if size == 0:
    return 0
  return max(smallest, 1 << (size - 1).bit_length())


def _bucket_of(layouts: Sequence[layout.TokenLayout]) -> Bucket:
  """Returns the bucket of some tasks."""
  is_continuous = [task_layout.action.kind == Kind.CONTINUOUS for task_layout in layouts]
  highest_ids = [
    int(task_layout.legal_actions()[1].max())
    for task_layout in layouts
    if task_layout.action.kind == Kind.DISCRETE
  ]

  # Bins come first, so that a bin's number is its column; `_discrete_column` relies on it too.
  columns = []
  if any(is_continuous):
    columns.append(range(vocabulary.CONTINUOUS_OFFSET, vocabulary.SEPARATOR))
  if highest_ids:
    columns.append(range(vocabulary.DISCRETE_OFFSET, max(highest_ids) + 1))

  return Bucket(
    tasks=tuple(task_layout.spec.name for task_layout in layouts),
    tokens=max(task_layout.observation_length for task_layout in layouts) + 1,
    patches=max(task_layout.patch_count for task_layout in layouts),
    actions=max(task_layout.action.size for task_layout in layouts),
    columns=tuple(columns),
  )


def _discrete_column(bucket: Bucket) -> int:
  """Returns the column of the first discrete id."""
  has_bins = bucket.columns[0].start == vocabulary.CONTINUOUS_OFFSET
  return vocabulary.CONTINUOUS_BINS if has_bins else 0


def tables(bucket: Bucket, layouts: Mapping[str, layout.TokenLayout]) -> dict[str, np.ndarray]:
  """Returns the tables by which a compiled step tells the tasks of a bucket apart.

  The first axis of each is the task, "centres" apart:
    kinds, locals: Int32 [G, 1 + T]. The first position is the last action token of the step before.
    linear: Bool [G, T], True where bins are uniform on [-1, 1]; they follow the mu-law elsewhere.
    end: Int32 [G], the index after the separator.
    lines: Int32 [G, P, 16], the lines of `Packed.lines` that make up a patch.
    patch_positions: Int32 [G, P, 4].
    patch_slots: Int32 [G, 1 + T], the patch of a position; 0 where it has none.
    actions: Int32 [G], action tokens.
    low, high: Int32 [G, A], the lowest and the highest legal column.
    bins: Int32 [G, A], the row of "centres" of an action token.
    continuous: Bool [G], True where actions are continuous.
    centres: Float32 [.., 1024], values of the bins.
  """
  task_tables = [_task_table(bucket, layouts[task]) for task in bucket.tasks]
  stacked = {
    name: np.stack([table[name] for table in task_tables])
    for name in task_tables[0]
    if name != "centres"
  }

  # Most action dimensions have the same bounds and so the same bins: each kind is stored once.
  row_of_bins: dict[bytes, int] = {}
  centres: list[np.ndarray] = []
  for i, table in enumerate(task_tables):
    for token, token_centres in enumerate(table["centres"]):
      key = token_centres.tobytes()
      if key not in row_of_bins:
        row_of_bins[key] = len(centres)
        centres.append(token_centres)
      stacked["bins"][i, token] = row_of_bins[key]

  # A stand-in where all actions are discrete: the step indexes the array and discards the result.
  stacked["centres"] = np.stack(centres) if centres else codec.linear_bins().centres[None]
  return stacked


def _task_table(bucket: Bucket, task_layout: layout.TokenLayout) -> dict[str, Any]:
  """Returns one task's rows of the tables, and its "centres", float32 [action tokens, 1024]."""
  length = task_layout.observation_length + 1
  end = 1 + length

  # Index 0 is the pending action token, the observation and the separator follow.
  kinds = np.full(1 + bucket.tokens, Kind.PADDING, np.int32)
  local_positions = np.full(1 + bucket.tokens, -1, np.int32)
  kinds[0] = Kind.ACTION
  kinds[1:end] = task_layout.kinds[:length]
  local_positions[1:end] = task_layout.locals[:length]

  linear = np.zeros(bucket.tokens, bool)
  for field in task_layout.observation:
    linear[field.slice] = bool(field.bins) and field.bins[0] is codec.linear_bins()

  count = task_layout.patch_count
  lines = np.zeros([bucket.patches, vocabulary.PATCH_SIDE], np.int32)
  patch_positions = np.zeros([bucket.patches, 4], np.int32)
  lines[:count] = packing.lines_of_patches(task_layout)
  patch_positions[:count] = task_layout.patch_positions
  is_patch = kinds == Kind.PATCH

  # From token ids to columns of the head.
  is_continuous = task_layout.action.kind == Kind.CONTINUOUS
  if is_continuous:
    shift = -vocabulary.CONTINUOUS_OFFSET
  else:
    shift = _discrete_column(bucket) - vocabulary.DISCRETE_OFFSET

  low = np.zeros(bucket.actions, np.int32)
  high = np.zeros(bucket.actions, np.int32)
  lowest_ids, highest_ids = task_layout.legal_actions()
  low[: task_layout.action.size] = lowest_ids + shift
  high[: task_layout.action.size] = highest_ids + shift

  return {
    "kinds": kinds,
    "locals": local_positions,
    "linear": linear,
    "end": np.int32(end),
    "lines": lines,
    "patch_positions": patch_positions,
    "patch_slots": np.where(is_patch, np.cumsum(is_patch) - 1, 0).astype(np.int32),
    "actions": np.int32(task_layout.action.size),
    "low": low,
    "high": high,
    "bins": np.zeros(bucket.actions, np.int32),
    "continuous": np.bool_(is_continuous),
    "centres": np.asarray([bins.centres for bins in task_layout.action.bins]),
  }


def pad_observations(
  bucket: Bucket, rows: int, observations: Mapping[int, packing.Packed]
) -> dict[str, np.ndarray]:
  """Pads packed observations to the sizes of a bucket, as the compiled step takes them.

  Args:
    bucket: Bucket of the observations' tasks.
    rows: B, rows of the batch.
    observations: Row -> its observation; the other rows are zeros.

  Returns:
    values float32 [B, T], ids int32 [B, T] and lines uint8 [B, 16 P, 48].
  """
  values = np.zeros([rows, bucket.tokens], np.float32)
  ids = np.zeros([rows, bucket.tokens], np.int32)
  lines = np.zeros([rows, vocabulary.PATCH_SIDE * bucket.patches, packing.LINE], np.uint8)

  for row, packed in observations.items():
    length = len(packed.values)
    values[row, :length] = packed.values
    ids[row, :length] = packed.ids
    lines[row, : len(packed.lines)] = packed.lines

  return {"values": values, "ids": ids, "lines": lines}
