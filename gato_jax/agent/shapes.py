"""Which tasks share a compiled step: those of about the same size are padded to common dimensions.

Everything that tells one task from another lies in tables, indexed by the row's task, so a batch may mix the tasks of a
shape.

Legend: m tasks of the shape, T observation tokens and separator, P patches, A action tokens, C columns of the head.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from gato_jax.agent import packing
from gato_jax.tokens import codec, layout, vocabulary
from gato_jax.tokens.vocabulary import Kind


@dataclasses.dataclass(frozen=True)
class Shape:
  """What a compiled step is specialised to.

  Attributes:
    tasks: "domain.task" of its members.
    tokens: T. patches: P. actions: A. The largest of the members.
    columns: token ids whose logits are computed: the bins if a member's action is continuous, then the discrete ids up
      to the largest legal one.
  """

  tasks: tuple[str, ...]
  tokens: int
  patches: int
  actions: int
  columns: tuple[range, ...]

  @property
  def positions(self) -> int:
    """M: the last action token of the step before, the observation, the separator, all action tokens but the last."""
    return self.tokens + self.actions

  def __str__(self) -> str:
    return f"{self.tokens} tokens, {self.patches} patches, {self.actions} action tokens ({len(self.tasks)} tasks)"


def group(layouts: Mapping[str, layout.TokenLayout]) -> list[Shape]:
  """Shapes for these tasks: members of one differ by less than a factor of two in each size, and padding is to the
  largest member, so a task alone has its own sizes."""
  members: dict[tuple[int, ...], list[str]] = {}
  for task, one in sorted(layouts.items()):
    size = one.observation_length + 1
    key = (_rung(size, 16), _rung(one.patch_count, 16), _rung(one.action.size, 1))
    members.setdefault(key, []).append(task)
  return [_shape([layouts[task] for task in tasks]) for _, tasks in sorted(members.items())]


def _rung(size: int, smallest: int) -> int:
  """The power of two at or above `size`; what is below `smallest` shares one rung, and 0 has its own."""
  return 0 if size == 0 else max(smallest, 1 << (size - 1).bit_length())


def _shape(layouts: Sequence[layout.TokenLayout]) -> Shape:
  columns = []
  if any(one.action.kind == Kind.CONTINUOUS for one in layouts):
    columns.append(range(vocabulary.CONTINUOUS_OFFSET, vocabulary.SEPARATOR))
  highest = [int(one.legal_actions()[1].max()) for one in layouts if one.action.kind == Kind.DISCRETE]
  if highest:
    columns.append(range(vocabulary.DISCRETE_OFFSET, max(highest) + 1))
  return Shape(
    tasks=tuple(one.spec.name for one in layouts),
    tokens=max(one.observation_length for one in layouts) + 1,
    patches=max(one.patch_count for one in layouts),
    actions=max(one.action.size for one in layouts),
    columns=tuple(columns),
  )


def tables(shape: Shape, layouts: Mapping[str, layout.TokenLayout]) -> dict[str, np.ndarray]:
  """What a step knows of each member, padded.

  kinds, locals int32 [m, 1 + T]: the first position is the last action token of the step before.
  linear bool [m, T]: values whose bins are uniform on [-1, 1]; mu-law elsewhere.
  end int32 [m]: after the separator. lines int32 [m, P, 16], patch_positions int32 [m, P, 4], patch_slots [m, 1 + T].
  actions int32 [m]: action tokens. low, high int32 [m, A]: legal columns.
  bins int32 [m, A]: rows of centres float32 [.., 1024]; continuous bool [m].
  """
  one_row = [_rows(shape, layouts[task]) for task in shape.tasks]
  stacked = {name: np.stack([row[name] for row in one_row]) for name in one_row[0] if name != "centres"}
  distinct: dict[bytes, int] = {}
  centres: list[np.ndarray] = []
  for i, row in enumerate(one_row):
    for a, centre in enumerate(row["centres"]):
      if centre.tobytes() not in distinct:
        distinct[centre.tobytes()] = len(centres)
        centres.append(centre)
      stacked["bins"][i, a] = distinct[centre.tobytes()]
  return {**stacked, "centres": np.stack(centres) if centres else codec.linear_bins().centres[None]}


def _rows(shape: Shape, one: layout.TokenLayout) -> dict[str, np.ndarray]:
  """One member's rows of the tables."""
  n, width = one.observation_length + 1, 1 + shape.tokens
  kinds = np.full(width, Kind.PADDING, np.int32)
  places = np.full(width, -1, np.int32)
  kinds[0], kinds[1 : 1 + n], places[1 : 1 + n] = Kind.ACTION, one.kinds[:n], one.locals[:n]
  linear = np.zeros(shape.tokens, bool)
  for field in one.observation:
    linear[field.slice] = bool(field.bins) and field.bins[0] is codec.linear_bins()
  lines = np.zeros([shape.patches, vocabulary.PATCH_SIDE], np.int32)
  positions = np.zeros([shape.patches, 4], np.int32)
  lines[: one.patch_count], positions[: one.patch_count] = packing.lines_of_patches(one), one.patch_positions
  is_patch = kinds == Kind.PATCH
  continuous = one.action.kind == Kind.CONTINUOUS
  low, high = (np.zeros(shape.actions, np.int32) for _ in range(2))
  offset = -vocabulary.CONTINUOUS_OFFSET if continuous else _discrete_column(shape) - vocabulary.DISCRETE_OFFSET
  for padded, ids in zip((low, high), one.legal_actions(), strict=True):
    padded[: one.action.size] = ids + offset
  return {
    "kinds": kinds,
    "locals": places,
    "linear": linear,
    "end": np.int32(1 + n),
    "lines": lines,
    "patch_positions": positions,
    "patch_slots": np.where(is_patch, np.cumsum(is_patch) - 1, 0).astype(np.int32),
    "actions": np.int32(one.action.size),
    "low": low,
    "high": high,
    "bins": np.zeros(shape.actions, np.int32),
    "continuous": np.bool_(continuous),
    "centres": np.asarray([bins.centres for bins in one.action.bins]),
  }


def _discrete_column(shape: Shape) -> int:
  """The column of discrete id 0: bins come first."""
  return vocabulary.CONTINUOUS_BINS if shape.columns[0].start == vocabulary.CONTINUOUS_OFFSET else 0
