"""TokenLayout: order, kinds, positions and targets of a timestep's tokens, in training and acting.

A timestep is [text y_1..k, image patches x_1..m, tensors z_1..n, "|", action a_1..A], keys in
lexicographic order inside each group, tensors row-major (Reed et al. 2022, section 2.1).

Legend: n steps, T tokens a step, P patches a step, A tokens of an action.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from dm_env import specs

from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec
from gato_jax.tokens import codec, patches, vocabulary
from gato_jax.tokens.fields import Field, kind_of, observation_bins, scaling_bounds
from gato_jax.tokens.vocabulary import Kind

# Distinct texts whose ids are cached: an instruction repeats through an episode.
_CACHED_TEXTS = 1024

# Texts come first, then images; discrete and continuous tensors share a group.
_GROUP_ORDER = {Kind.TEXT: 0, Kind.PATCH: 1, Kind.DISCRETE: 2, Kind.CONTINUOUS: 2}


@dataclasses.dataclass
class Steps:
  """Encoded timesteps.

  Attributes:
    tokens: int32 [n, T], vocabulary ids.
    kinds: int32 [n, T], a Kind each.
    locals: int32 [n, T], local positions; -1 for the separator, the action and padding.
    targets: bool [n, T], True for tokens that are predicted.
    patches: uint8 [n, P, 16, 16, 3].
  """

  tokens: np.ndarray
  kinds: np.ndarray
  locals: np.ndarray
  targets: np.ndarray
  patches: np.ndarray


class TokenLayout:
  """Encodes one task's timesteps.

  Attributes:
    spec: The task's spec.
    observation: Observation fields in the order of their tokens.
    action: The action field; it starts right after the separator.
    length: T, tokens of a step.
    observation_length: Tokens before the separator.
    patch_count: P, patches of a step.
    patch_positions: int32 [P, 4], see `patches.positions`.
    kinds: int32 [T], kinds of a step whose text fields are full.
    locals: int32 [T], local positions of such a step.
  """

  def __init__(self, spec: TaskSpec, text: codec.TextCodec, max_local_positions: int = 512):
    """Lays out the tokens of a timestep.

    Args:
      spec: The task's spec.
      text: Tokenizer of the text fields.
      max_local_positions: Size of the network's table of local positions.

    Raises:
      GatoError: An image side is no multiple of 16, the action has no bounds, a text field has no
        length, or the observation is longer than the table of local positions.
    """
    if spec.is_document:
      raise GatoError(f"{spec.name} is a text task: it has documents, not timesteps")
    self.spec = spec

    def encode_text(value: str | bytes) -> np.ndarray:
      # TFDS has texts as bytes, environments as str.
      return text.encode(value.decode() if isinstance(value, bytes) else str(value))

    self._text_ids = functools.lru_cache(_CACHED_TEXTS)(encode_text)

    self.observation = self._observation_fields()
    self.observation_length = sum(field.size for field in self.observation)
    if self.observation_length > max_local_positions:
      raise GatoError(
        f"{spec.name}: an observation takes {self.observation_length} tokens, "
        f"the local position table has {max_local_positions}; "
        "raise --config.model.max_local_positions or make the observation smaller"
      )

    self.action = self._action_field()
    self.length = self.action.start + self.action.size

    images = [field for field in self.observation if field.kind == Kind.PATCH]
    positions = [patches.positions(*image.spec.shape[:2]) for image in images]
    self.patch_count = sum(image.size for image in images)
    self.patch_positions = np.concatenate([np.zeros([0, 4], np.int32), *positions])

    self.kinds = np.full(self.length, Kind.ACTION, np.int32)
    for field in self.observation:
      self.kinds[field.slice] = field.kind
    self.kinds[self.observation_length] = Kind.SEPARATOR

    # The separator and the action have no local position.
    self.locals = np.full(self.length, -1, np.int32)
    self.locals[: self.observation_length] = np.arange(self.observation_length)

  def _observation_fields(self) -> list[Field]:
    kinds = {key: kind_of(key, spec) for key, spec in self.spec.observation.items()}

    fields: list[Field] = []
    start = 0
    for key in sorted(kinds, key=lambda k: (_GROUP_ORDER[kinds[k]], k)):
      kind = kinds[key]
      spec = self.spec.observation[key]

      if kind == Kind.TEXT and key not in self.spec.max_text_tokens:
        raise GatoError(
          f"{self.spec.name}: text field {key!r} needs an entry in the domain's max_text_tokens"
        )

      if kind == Kind.TEXT:
        size = self.spec.max_text_tokens[key]
      elif kind == Kind.PATCH:
        height, width = spec.shape[:2]
        size = (height // vocabulary.PATCH_SIDE) * (width // vocabulary.PATCH_SIDE)
      else:
        size = int(np.prod(spec.shape))

      bins = (observation_bins(spec),) if kind == Kind.CONTINUOUS else ()
      bounds = None
      if key in self.spec.scaled:
        bins, bounds = (codec.linear_bins(),), scaling_bounds(spec, f"{self.spec.name}: {key!r}")

      field = Field(key, kind, start=start, size=size, spec=spec, bins=bins, bounds=bounds)
      fields.append(field)
      start += size

    return fields

  def _action_field(self) -> Field:
    spec = self.spec.action
    if not isinstance(spec, specs.BoundedArray) or not np.all(
      np.isfinite(spec.minimum) & np.isfinite(spec.maximum)
    ):
      raise GatoError(f"{self.spec.name}: the action spec needs finite bounds, got {spec}")

    # One bound for each number of the action.
    minimum = np.broadcast_to(spec.minimum, spec.shape).ravel()
    maximum = np.broadcast_to(spec.maximum, spec.shape).ravel()

    if np.issubdtype(spec.dtype, np.integer):
      if np.any(minimum < 0) or np.any(maximum >= vocabulary.DISCRETE_SIZE):
        raise GatoError(f"{self.spec.name}: discrete actions must lie in [0, 1024), got {spec}")
      kind = Kind.DISCRETE
      bins: tuple[codec.Bins, ...] = ()
    else:
      kind = Kind.CONTINUOUS
      bounds = zip(minimum, maximum, strict=True)
      bins = tuple(codec.linear_bins(float(low), float(high)) for low, high in bounds)

    # The separator stands between the observation and the action.
    start = self.observation_length + 1
    size = int(np.prod(spec.shape))
    return Field("action", kind, start=start, size=size, spec=spec, bins=bins)

  def encode(self, observation: Mapping[str, np.ndarray], action: np.ndarray | None) -> Steps:
    """Encodes n timesteps.

    Args:
      observation: Flat key -> column [n, ...].
      action: [n, ...]; with None the steps end at the separator (T = observation_length + 1), which
        is what an actor has seen when it acts.

    Raises:
      GatoError: NaN or infinity, a discrete value outside [0, 1024), a text that does not fit, a
        missing field.
    """
    missing = [field.key for field in self.observation if field.key not in observation]
    if missing:
      raise GatoError(
        f"{self.spec.name}: the observation has no field {missing[0]!r}; it has "
        f"{sorted(observation)}"
      )

    n = len(next(iter(observation.values())))
    length = self.length if action is not None else self.observation_length + 1
    tokens = np.zeros([n, length], np.int32)
    kinds = np.tile(self.kinds[:length], (n, 1))
    local_positions = np.tile(self.locals[:length], (n, 1))
    pixels = []

    for field in self.observation:
      values = observation[field.key]
      if field.kind == Kind.TEXT:
        self._encode_text(
          field, values, tokens=tokens, kinds=kinds, local_positions=local_positions
        )
      elif field.kind == Kind.PATCH:
        images = np.asarray(values, np.uint8).reshape(n, *field.spec.shape)
        pixels.append(patches.to_patches(images))
      else:
        tokens[:, field.slice] = self._encode_tensor(field, values)

    tokens[:, self.observation_length] = vocabulary.SEPARATOR
    if action is not None:
      tokens[:, self.action.slice] = self.encode_actions(action)

    # The paper's mask: text and actions are predicted, the separator is not.
    targets = (kinds == Kind.ACTION) | (kinds == Kind.TEXT)

    # The patches of a single image need no copy.
    if len(pixels) != 1:
      pixels = [np.concatenate([np.zeros([n, 0, 16, 16, 3], np.uint8), *pixels], axis=1)]

    return Steps(
      tokens=tokens, kinds=kinds, locals=local_positions, targets=targets, patches=pixels[0]
    )

  def encode_actions(self, action: np.ndarray) -> np.ndarray:
    """Encodes actions [n, ...] alone: token ids, int32 [n, A]."""
    return self._encode_tensor(self.action, action)

  def text_ids(self, field: Field, value: Any) -> np.ndarray:
    """Returns the ids of a text, int32 [k] with k <= field.size.

    Raises:
      GatoError: The text is longer than the field.
    """
    ids = self._text_ids(value.item() if isinstance(value, np.ndarray) else value)
    if len(ids) > field.size:
      raise GatoError(
        f"{self.spec.name}: {field.key!r} takes {len(ids)} tokens, "
        f"max_text_tokens allows {field.size}: {value!r}"
      )
    return ids

  def _encode_text(
    self,
    field: Field,
    values: Sequence[Any] | np.ndarray,
    tokens: np.ndarray,
    kinds: np.ndarray,
    local_positions: np.ndarray,
  ) -> None:
    """Writes texts [n] into the field's columns of the arrays [n, T]."""
    texts = [value.item() if isinstance(value, np.ndarray) else value for value in values]

    # An instruction repeats through an episode: every distinct text is encoded once, into a row of
    # a table that the steps are then looked up in.
    rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
    table = np.full([len(rows), field.size], vocabulary.PADDING_ID, np.int32)
    lengths = np.zeros([len(rows), 1], np.int64)
    for text, row in rows.items():
      ids = self.text_ids(field, text)
      table[row, : len(ids)] = ids
      lengths[row] = len(ids)

    step_rows = [rows[text] for text in texts]
    tokens[:, field.slice] = table[step_rows]

    # Basic slices are views, so these assignments change `kinds` and `local_positions`.
    is_unused = np.arange(field.size) >= lengths[step_rows]
    kinds[:, field.slice][is_unused] = Kind.PADDING
    local_positions[:, field.slice][is_unused] = -1

  def _encode_tensor(self, field: Field, values: np.ndarray) -> np.ndarray:
    """Returns the token ids [n, size] of values [n, ...]."""
    values = np.asarray(values).reshape(-1, field.size)
    name = f"{self.spec.name}: {field.key!r}"

    if field.kind == Kind.DISCRETE:
      if np.any(values < 0) or np.any(values >= vocabulary.DISCRETE_SIZE):
        raise GatoError(
          f"{name}: discrete values must lie in [0, 1024), got {values.min()} to {values.max()}"
        )
      return values.astype(np.int32) + vocabulary.DISCRETE_OFFSET

    codec.check_finite(values.astype(np.float32), name)
    values = field.binned(values)

    if len(field.bins) == 1:
      bins = field.bins[0].encode(values)
    else:
      columns = [b.encode(values[:, d]) for d, b in enumerate(field.bins)]
      bins = np.stack(columns, axis=1)

    return bins.astype(np.int32) + vocabulary.CONTINUOUS_OFFSET

  def legal_actions(self) -> tuple[np.ndarray, np.ndarray]:
    """Returns the lowest and the highest legal token id of every action token, int32 [A] each."""
    if self.action.kind == Kind.DISCRETE:
      spec = self.action.spec
      low = np.broadcast_to(spec.minimum, spec.shape).ravel().astype(np.int32)
      high = np.broadcast_to(spec.maximum, spec.shape).ravel().astype(np.int32)
      return low + vocabulary.DISCRETE_OFFSET, high + vocabulary.DISCRETE_OFFSET

    low = np.full(self.action.size, vocabulary.CONTINUOUS_OFFSET, np.int32)
    return low, low + vocabulary.CONTINUOUS_BINS - 1

  def describe(self) -> str:
    """Returns a table of the layout for people: one line for each field, "|" and the action."""
    rows = [("field", "kind", "shape", "ids", "encoding", "tokens", "local positions", "target")]

    for field in self.observation:
      ids, encoding = _ids_and_encoding(field)
      target = "yes" if field.kind == Kind.TEXT else "no"
      tokens = _token_range(field)
      rows.append((*_name_kind_shape(field), ids, encoding, tokens, tokens, target))

    separator_index = str(self.observation_length)
    separator_id = str(vocabulary.SEPARATOR)
    rows.append(("|", "separator", "", separator_id, "", separator_index, "none", "no"))

    # Each number of a discrete action may have its own maximum.
    ranges = [f"{low}..{high}" for low, high in zip(*self.legal_actions(), strict=True)]
    ids = ranges[0] if len(set(ranges)) <= 1 else ", ".join(_count_runs(ranges))
    encoding = "integer" if self.action.kind == Kind.DISCRETE else "linear in its bounds"
    tokens = _token_range(self.action)
    rows.append((*_name_kind_shape(self.action), ids, encoding, tokens, "shared", "yes"))

    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [f"{self.spec.name}: {self.length} tokens a step, {self.patch_count} of them patches"]
    for row in rows:
      cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
      lines.append("  ".join(cells).rstrip())

    return "\n".join(lines)


def _ids_and_encoding(field: Field) -> tuple[str, str]:
  if field.kind == Kind.TEXT:
    return "0..31999", "SentencePiece"

  if field.kind == Kind.PATCH:
    return "none", "16x16 patches"

  if field.kind == Kind.DISCRETE:
    return "0..1023", "integer"

  if field.bounds is not None:
    return "32000..33023", "linear in its bounds"

  # `linear_bins` is cached, so that its default is one object.
  is_linear = field.bins[0] is codec.linear_bins()
  return "32000..33023", "linear" if is_linear else "mu-law"


def _token_range(field: Field) -> str:
  return f"{field.start}..{field.start + field.size - 1}"


def _name_kind_shape(field: Field) -> tuple[str, str, str]:
  return field.key, field.kind.name.lower(), "x".join(map(str, field.spec.shape)) or "()"


def _count_runs(texts: list[str]) -> list[str]:
  """Merges equal neighbours: ["a", "a", "b"] -> ["2 x a", "b"]."""
  runs = [(text, len(list(run))) for text, run in itertools.groupby(texts)]
  return [text if count == 1 else f"{count} x {text}" for text, count in runs]


def spread_steps(length: int, count: int) -> np.ndarray:
  """Returns `count` steps of an episode of `length`: the first, the last, evenly between.

  Returns:
    int64 [count], ascending and distinct; a single one is the last.
  """
  if count == 1:
    return np.array([length - 1])

  return np.rint(np.linspace(0, length - 1, count)).astype(np.int64)
