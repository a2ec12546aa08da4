"""Looks through recorded episodes: what each field holds, before anything is declared or built.

Legend: T steps of an episode, A numbers of a field.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax import progress
from gato_jax.domain import Source
from gato_jax.errors import GatoError
from gato_jax.tokens import codec
from rlds_builders.base import recorded_source, recorded_spec

# Continuous values are looked at in so many steps at the most.
_MOST_STEPS = 200_000


@dataclasses.dataclass(frozen=True, eq=False)
class Numbers:
  """Ranges and quantiles of a field's numbers, each float64 [A]."""

  minimum: np.ndarray
  maximum: np.ndarray
  low: np.ndarray  # the quantile of 1 %
  high: np.ndarray  # the quantile of 99 %
  are_integers: bool

  @property
  def is_constant(self) -> np.ndarray:
    """Bool [A]."""
    return self.minimum == self.maximum


@dataclasses.dataclass(frozen=True)
class FieldSurvey:
  """One field of a step.

  Attributes:
    path: Its path.
    kind: "image", "depth" (numbers that are an image), "text" or "numbers".
    shape: Its shape.
    numbers: What its numbers are; None for images and texts.
    tokens: Tokens of the longest text, 0 for others.
    examples: Some of the texts.
  """

  path: str
  kind: str
  shape: tuple[int | None, ...]
  numbers: Numbers | None = None
  tokens: int = 0
  examples: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Survey:
  """A recording.

  Attributes:
    source: Where it lies.
    fields: Path -> survey, in the order of the paths.
    lengths: Steps of each episode that was read.
    splits: Name -> number of episodes, {} where the format does not say.
  """

  source: Source
  fields: Mapping[str, FieldSurvey]
  lengths: tuple[int, ...]
  splits: Mapping[str, int]


def survey(dataset: str, episodes: int, text: codec.TextCodec) -> Survey:
  """Reads the first episodes of a recording.

  Args:
    dataset: As Source.dataset.
    episodes: Number of episodes to read; images are not decoded.
    text: Counts the tokens of texts.

  Raises:
    GatoError: It cannot be read, or holds no episode.
  """
  source = Source(dataset)
  opened = recorded_source.load(source)
  if isinstance(opened, recorded_source.FileRecording) and "train" not in opened.reader.splits:
    source = dataclasses.replace(source, split=next(iter(opened.reader.splits)))

  features = recorded_spec.step_fields(opened, dataset)
  kinds = {path: _kind(feature) for path, feature in features.items()}
  used = [path for path, kind in kinds.items() if kind != "image"]

  lengths: list[int] = []
  columns: dict[str, list[np.ndarray]] = {path: [] for path in used}
  splits = _splits(opened)
  reading = itertools.islice(recorded_source.columns(opened, source, used), episodes)
  total = min(episodes, splits.get(source.split, episodes))
  for episode in progress.Bar(reading, "look", total, unit="episode"):
    lengths.append(max(map(len, episode.values())))
    for path, column in episode.items():
      if kinds[path] == "depth":
        column = _extremes(column)
      columns[path].append(column)
    if sum(lengths) > _MOST_STEPS:
      break
  if not lengths:
    raise GatoError(f"{dataset} holds no episodes")

  fields = {}
  for path in sorted(features):
    shape = tuple(features[path].shape)
    fields[path] = _field(path, kinds[path], shape, columns.get(path, []), text)

  return Survey(source, fields, lengths=tuple(lengths), splits=splits)


def _splits(opened: Any) -> Mapping[str, int]:
  """Returns the number of episodes of each split, {} where nothing says it."""
  if isinstance(opened, recorded_source.FileRecording):
    return opened.reader.splits
  return {name: split.num_examples for name, split in (opened.info.splits or {}).items()}


def _kind(feature: Any) -> str:
  if recorded_spec.is_text(feature):
    return "text"
  if recorded_spec.is_image(feature):
    return "image"

  # [H, W] or [H, W, 1] of numbers with sides of an image.
  shape = tuple(feature.shape)
  is_plane = len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))
  return "depth" if is_plane and min(side or 0 for side in shape[:2]) >= 16 else "numbers"


def _extremes(column: np.ndarray) -> np.ndarray:
  """Returns the smallest and the largest finite value of an episode's depth images, [2, 1]."""
  finite = column[np.isfinite(column)]
  return np.array([[finite.min()], [finite.max()]]) if finite.size else np.zeros([2, 1])


def _field(
  path: str,
  kind: str,
  shape: tuple[int | None, ...],
  columns: list[np.ndarray],
  text: codec.TextCodec,
) -> FieldSurvey:
  if kind == "image" or not columns:
    return FieldSurvey(path, kind, shape)

  if kind == "text":
    texts = {value for column in columns for value in column.tolist()}
    decoded = sorted(value.decode(errors="replace") for value in texts)
    tokens = max((len(text.encode(value)) for value in decoded), default=0)
    return FieldSurvey(path, kind, shape, tokens=tokens, examples=tuple(decoded[:3]))

  values = np.concatenate([column.reshape(len(column), -1) for column in columns])
  finite = np.where(np.isfinite(values.astype(np.float64)), values, np.nan).astype(np.float64)
  low, high = np.nanquantile(finite, [0.01, 0.99], axis=0)
  numbers = Numbers(
    minimum=np.nanmin(finite, axis=0),
    maximum=np.nanmax(finite, axis=0),
    low=low,
    high=high,
    are_integers=values.dtype.kind in "iub",
  )
  return FieldSurvey(path, kind, shape, numbers=numbers)
