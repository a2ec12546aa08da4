"""TokenLayout: the order, kinds, positions and targets of one timestep, for training and acting alike.

A timestep is [text y_1..k, image patches x_1..m, tensors z_1..n, "|", action a_1..A], keys in lexicographic order
inside each group, tensors row-major (Reed et al. 2022, section 2.1).

Legend: n steps, T tokens a step, P patches a step.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
from dm_env import specs

from gato_jax.errors import GatoError
from gato_jax.specs import TaskSpec
from gato_jax.tokens import codec, patches, vocabulary
from gato_jax.tokens.vocabulary import Kind

_REMEMBERED_TEXTS = 1024
_GROUP_ORDER = {Kind.TEXT: 0, Kind.PATCH: 1, Kind.DISCRETE: 2, Kind.CONTINUOUS: 2}


@dataclasses.dataclass(frozen=True)
class Field:
  """One observation field, or the action: where its tokens lie in the timestep."""

  key: str
  kind: Kind
  start: int
  size: int
  spec: specs.Array
  bins: tuple[codec.Bins, ...] = ()  # one for every value, or one a dimension (actions)

  @property
  def slice(self) -> slice:
    return slice(self.start, self.start + self.size)


@dataclasses.dataclass
class Steps:
  """n encoded timesteps. tokens, kinds, locals int32 [n, T]; targets bool [n, T]; patches uint8 [n, P, 16, 16, 3]."""

  tokens: np.ndarray
  kinds: np.ndarray
  locals: np.ndarray
  targets: np.ndarray
  patches: np.ndarray


def kind_of(key: str, spec: specs.Array) -> Kind:
  """The modality of an observation field; it follows from the spec alone."""
  if isinstance(spec, specs.StringArray):
    return Kind.TEXT
  if spec.dtype == np.uint8 and len(spec.shape) == 3:
    patches.check_shape(spec.shape, key)
    return Kind.PATCH
  if np.issubdtype(spec.dtype, np.integer):
    return Kind.DISCRETE
  if np.issubdtype(spec.dtype, np.floating):
    return Kind.CONTINUOUS
  raise GatoError(f"{key}: dtype {spec.dtype} is none of text, image, integer, float")


def _bins_of_observation(spec: specs.Array) -> codec.Bins:
  """The paper applies mu-law to values "not already" in [-1, 1]; the spec's bounds decide, never the data."""
  if isinstance(spec, specs.BoundedArray) and np.all(spec.minimum >= -1) and np.all(spec.maximum <= 1):
    return codec.linear_bins()
  return codec.mu_law_bins()


def _counted(texts: list[str]) -> list[str]:
  """Neighbours that are equal as one text: ["a", "a", "b"] -> ["2 x a", "b"]."""
  runs = [(text, len(list(run))) for text, run in itertools.groupby(texts)]
  return [text if count == 1 else f"{count} x {text}" for text, count in runs]


class TokenLayout:
  """Encodes and decodes one task's timesteps.

  Attributes:
    observation: fields in token order.
    action: the action field; it starts right after the separator.
    length: T, tokens a step. observation_length: tokens before the separator. patch_count: P.
    patch_positions: int32 [P, 4]. kinds, locals: int32 [T], of a step whose text fields are full.

  Raises (constructor): GatoError for an image side, a spec without bounds, or an observation longer than the
    local-position table.
  """

  def __init__(self, spec: TaskSpec, text: codec.TextCodec, max_local_positions: int = 512):
    if spec.is_document:
      raise GatoError(f"{spec.name} is a text task: it has documents, not timesteps")
    self.spec = spec
    self._text_ids = functools.lru_cache(_REMEMBERED_TEXTS)(
      lambda value: text.encode(value.decode() if isinstance(value, bytes) else str(value))
    )
    self._text = text
    self.observation = self._observation_fields()
    self.observation_length = sum(f.size for f in self.observation)
    if self.observation_length > max_local_positions:
      raise GatoError(
        f"{spec.name}: an observation takes {self.observation_length} tokens, the local position table has "
        f"{max_local_positions}; raise --config.model.max_local_positions or make the observation smaller"
      )
    self.action = self._action_field()
    self.length = self.action.start + self.action.size
    images = [f for f in self.observation if f.kind == Kind.PATCH]
    self.patch_count = sum(f.size for f in images)
    self.patch_positions = np.concatenate(
      [np.zeros([0, 4], np.int32)] + [patches.positions(*f.spec.shape[:2]) for f in images]
    )
    self.kinds, self.locals = self._template()

  def _observation_fields(self) -> list[Field]:
    kinds = {key: kind_of(key, spec) for key, spec in self.spec.observation.items()}
    fields, start = [], 0
    for key in sorted(kinds, key=lambda k: (_GROUP_ORDER[kinds[k]], k)):
      kind, spec = kinds[key], self.spec.observation[key]
      bins: tuple[codec.Bins, ...] = ()
      if kind == Kind.TEXT:
        if key not in self.spec.max_text_tokens:
          raise GatoError(f"{self.spec.name}: text field {key!r} needs an entry in the domain's max_text_tokens")
        size = self.spec.max_text_tokens[key]
      elif kind == Kind.PATCH:
        size = (spec.shape[0] // vocabulary.PATCH_SIDE) * (spec.shape[1] // vocabulary.PATCH_SIDE)
      else:
        size = int(np.prod(spec.shape))
        bins = (_bins_of_observation(spec),) if kind == Kind.CONTINUOUS else ()
      fields.append(Field(key, kind, start, size, spec, bins))
      start += size
    return fields

  def _action_field(self) -> Field:
    spec, start = self.spec.action, self.observation_length + 1
    if not isinstance(spec, specs.BoundedArray) or not np.all(np.isfinite(spec.minimum) & np.isfinite(spec.maximum)):
      raise GatoError(f"{self.spec.name}: the action spec needs finite bounds, got {spec}")
    size = int(np.prod(spec.shape))
    minimum, maximum = (np.broadcast_to(b, spec.shape).ravel() for b in (spec.minimum, spec.maximum))
    if np.issubdtype(spec.dtype, np.integer):
      if np.any(minimum < 0) or np.any(maximum >= vocabulary.DISCRETE_SIZE):
        raise GatoError(f"{self.spec.name}: discrete actions must lie in [0, 1024), got {spec}")
      return Field("action", Kind.DISCRETE, start, size, spec)
    bins = tuple(codec.linear_bins(float(lo), float(hi)) for lo, hi in zip(minimum, maximum, strict=True))
    return Field("action", Kind.CONTINUOUS, start, size, spec, bins)

  def _template(self) -> tuple[np.ndarray, np.ndarray]:
    """kinds and locals [T] of a step whose text fields are full."""
    kinds = np.full(self.length, Kind.ACTION, np.int32)
    for field in self.observation:
      kinds[field.slice] = field.kind
    kinds[self.observation_length] = Kind.SEPARATOR
    places = np.full(self.length, -1, np.int32)
    places[: self.observation_length] = np.arange(self.observation_length)
    return kinds, places

  def encode(self, observation: Mapping[str, np.ndarray], action: np.ndarray | None) -> Steps:
    """n stacked observations (flat keys, leading n) and actions [n, ...] -> Steps.

    With action None the steps end at the separator (T = observation_length + 1): what an actor has seen when it acts.

    Raises:
      GatoError: NaN or infinity, a discrete value outside [0, 1024), a text that does not fit, a missing field.
    """
    missing = [f.key for f in self.observation if f.key not in observation]
    if missing:
      raise GatoError(f"{self.spec.name}: the observation has no field {missing[0]!r}; it has {sorted(observation)}")
    n = len(next(iter(observation.values())))
    length = self.length if action is not None else self.observation_length + 1
    tokens = np.zeros([n, length], np.int32)
    kinds = np.tile(self.kinds[:length], (n, 1))
    places = np.tile(self.locals[:length], (n, 1))
    pixels = []
    for field in self.observation:
      values = observation[field.key]
      if field.kind == Kind.TEXT:
        self._encode_text(field, values, tokens, kinds, places)
      elif field.kind == Kind.PATCH:
        pixels.append(patches.to_patches(np.asarray(values, np.uint8).reshape(n, *field.spec.shape)))
      else:
        tokens[:, field.slice] = self._encode_tensor(field, values)
    tokens[:, self.observation_length] = vocabulary.SEPARATOR
    if action is not None:
      tokens[:, self.action.slice] = self.encode_actions(action)
    targets = (kinds == Kind.ACTION) | (kinds == Kind.TEXT)
    if len(pixels) != 1:  # one image is not copied
      pixels = [np.concatenate([np.zeros([n, 0, 16, 16, 3], np.uint8), *pixels], axis=1)]
    return Steps(tokens, kinds, places, targets, pixels[0])

  def encode_actions(self, action: np.ndarray) -> np.ndarray:
    """Encodes actions [n, ...] alone: token ids, int32 [n, A]."""
    return self._encode_tensor(self.action, action)

  def text_ids(self, field: Field, value: Any) -> np.ndarray:
    """int32 [k], k at most the field's size; GatoError where the text is longer."""
    ids = self._text_ids(value.item() if isinstance(value, np.ndarray) else value)
    if len(ids) > field.size:
      raise GatoError(
        f"{self.spec.name}: {field.key!r} takes {len(ids)} tokens, max_text_tokens allows {field.size}: {value!r}"
      )
    return ids

  def _encode_text(self, field, values, tokens, kinds, places) -> None:
    values = [value.item() if isinstance(value, np.ndarray) else value for value in values]
    distinct = {value: i for i, value in enumerate(dict.fromkeys(values))}  # an instruction repeats through an episode
    table = np.full([len(distinct), field.size], vocabulary.PADDING_ID, np.int32)
    used = np.zeros([len(distinct), 1], np.int64)
    for value, i in distinct.items():
      ids = self.text_ids(field, value)
      table[i, : len(ids)] = ids
      used[i] = len(ids)
    which = [distinct[value] for value in values]
    tokens[:, field.slice] = table[which]
    unused = np.arange(field.size) >= used[which]
    kinds[:, field.slice][unused] = Kind.PADDING
    places[:, field.slice][unused] = -1

  def _encode_tensor(self, field: Field, values: np.ndarray) -> np.ndarray:
    """Values [n, ...] -> token ids [n, size]."""
    values = np.asarray(values).reshape(-1, field.size)
    name = f"{self.spec.name}: {field.key!r}"
    if field.kind == Kind.DISCRETE:
      if np.any(values < 0) or np.any(values >= vocabulary.DISCRETE_SIZE):
        raise GatoError(f"{name}: discrete values must lie in [0, 1024), got {values.min()} to {values.max()}")
      return values.astype(np.int32) + vocabulary.DISCRETE_OFFSET
    values = values.astype(np.float32)
    codec.check_finite(values, name)
    if len(field.bins) == 1:
      bins = field.bins[0].encode(values)
    else:
      bins = np.stack([b.encode(values[:, d]) for d, b in enumerate(field.bins)], axis=1)
    return bins.astype(np.int32) + vocabulary.CONTINUOUS_OFFSET

  def _decode_tensor(self, field: Field, tokens: np.ndarray) -> np.ndarray:
    """Token ids [size] -> values of the field's shape and dtype."""
    if field.kind == Kind.DISCRETE:
      values = tokens - vocabulary.DISCRETE_OFFSET
    else:
      bins = np.asarray(tokens) - vocabulary.CONTINUOUS_OFFSET
      each = field.bins * field.size if len(field.bins) == 1 else field.bins
      values = np.asarray([b.decode(i) for b, i in zip(each, bins, strict=True)])
    return np.asarray(values, field.spec.dtype).reshape(field.spec.shape)

  def decode_action(self, tokens: np.ndarray) -> np.ndarray:
    """int [A] -> an action within its spec's bounds (bin centres for continuous ones)."""
    return self._decode_tensor(self.action, np.asarray(tokens))

  def decode_observation(self, steps: Steps, index: int = 0) -> dict[str, Any]:
    """One step back to values: what the network was shown, for people to look at."""
    observation: dict[str, Any] = {}
    patch = 0
    for field in self.observation:
      tokens, kinds = steps.tokens[index, field.slice], steps.kinds[index, field.slice]
      if field.kind == Kind.TEXT:
        observation[field.key] = self._text.decode(tokens[kinds == Kind.TEXT])
      elif field.kind == Kind.PATCH:
        pixels = steps.patches[index, patch : patch + field.size]
        observation[field.key] = patches.to_images(pixels[None], *field.spec.shape[:2])[0]
        patch += field.size
      else:
        observation[field.key] = self._decode_tensor(field, tokens)
    return observation

  def legal_actions(self) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest legal token id, int32 [A] each, for every action position."""
    if self.action.kind == Kind.DISCRETE:
      spec = self.action.spec
      low, high = (np.broadcast_to(b, spec.shape).ravel().astype(np.int32) for b in (spec.minimum, spec.maximum))
      return low + vocabulary.DISCRETE_OFFSET, high + vocabulary.DISCRETE_OFFSET
    low = np.full(self.action.size, vocabulary.CONTINUOUS_OFFSET, np.int32)
    return low, low + vocabulary.CONTINUOUS_BINS - 1

  def describe(self) -> str:
    """The table a person needs to trust the layout: field, kind, ids, positions, loss, tokens a step."""
    rows = [("field", "kind", "shape", "ids", "encoding", "tokens", "local positions", "target")]
    for f in self.observation:
      ids, encoding = {
        Kind.TEXT: ("0..31999", "SentencePiece"),
        Kind.PATCH: ("none", "16x16 patches"),
        Kind.DISCRETE: ("0..1023", "integer"),
        Kind.CONTINUOUS: ("32000..33023", "linear" if f.bins and f.bins[0] is codec.linear_bins() else "mu-law"),
      }[f.kind]
      end = f.start + f.size
      shape = "x".join(map(str, f.spec.shape)) or "()"
      target = "yes" if f.kind == Kind.TEXT else "no"
      rows.append(
        (f.key, f.kind.name.lower(), shape, ids, encoding, f"{f.start}..{end - 1}", f"{f.start}..{end - 1}", target)
      )
    sep = self.observation_length
    rows.append(("|", "separator", "", str(vocabulary.SEPARATOR), "", f"{sep}", "none", "no"))
    a = self.action
    shape = "x".join(map(str, a.spec.shape)) or "()"
    ranges = [f"{low}..{high}" for low, high in zip(*self.legal_actions(), strict=True)]
    ids = ", ".join(_counted(ranges)) if len(set(ranges)) > 1 else ranges[0]  # each number may have its own maximum
    encoding = "integer" if a.kind == Kind.DISCRETE else "linear in its bounds"
    rows.append(("action", a.kind.name.lower(), shape, ids, encoding, f"{a.start}..{self.length - 1}", "shared", "yes"))
    widths = [max(len(r[c]) for r in rows) for c in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([f"{self.spec.name}: {self.length} tokens a step, {self.patch_count} of them patches", *lines])
