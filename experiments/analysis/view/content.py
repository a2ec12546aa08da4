"""Reads what the page shows of a task: episodes, numbers by field, returns, tokens, findings.

Legend: n steps of an episode, A numbers of a field, T tokens of a step.
"""

import base64
import io
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from experiments.analysis.view import findings
from gato_jax.data import prepared
from gato_jax.tokens import codec, layout, vocabulary
from gato_jax.tokens.vocabulary import Kind

SHOWN_STEPS = 120  # of an episode, spread over it
_CURVES = 24  # numbers of a field that are drawn
_SIDE = 192  # pixels of an image's longer side
_HISTOGRAM = 32  # bars
_LOOKED_THROUGH = 50  # episodes whose steps are all read

Columns = findings.EpisodeColumns


def task_content(
  data: prepared.PreparedEpisodes, text: codec.TextCodec, episodes: int
) -> dict[str, Any]:
  """Returns everything that the page shows of a task, as JSON.

  Args:
    data: The prepared dataset.
    text: The tokenizer.
    episodes: Number of episodes that are shown, the first ones.
  """
  task_layout = layout.TokenLayout(data.spec, text)
  read = _read_through(data)
  bins = _bins(task_layout, read)

  return {
    "task": data.spec.name,
    "layout": task_layout.describe(),
    "returns": _returns(data),
    "fields": _fields(task_layout, read, bins),
    "findings": [vars(found) for found in _find(read, bins)],
    "read": len(read),
    "episodes": [
      _episode(data, task_layout, index) for index in range(min(episodes, len(data.lengths)))
    ],
  }


def look(data: prepared.PreparedEpisodes, text: codec.TextCodec) -> list[findings.Finding]:
  """Returns the findings alone."""
  read = _read_through(data)
  return _find(read, _bins(layout.TokenLayout(data.spec, text), read))


def _find(read: list[Columns], bins: Mapping[str, np.ndarray]) -> list[findings.Finding]:
  used = {key: np.array([len(np.unique(column)) for column in ids.T]) for key, ids in bins.items()}
  return findings.find(read, used)


def _read_through(data: prepared.PreparedEpisodes) -> list[Columns]:
  """Reads the episodes that findings and histograms are of, evenly over the dataset."""
  indices = _spread(len(data.lengths), _LOOKED_THROUGH)
  return [_columns(index, _whole(data, index)) for index in indices]


def _bins(task_layout: layout.TokenLayout, read: list[Columns]) -> dict[str, np.ndarray]:
  """Returns continuous field -> the bins [n, A] of its numbers, in all steps that were read."""
  return {
    field.key: np.concatenate([_tokens(field, task_layout, columns) for columns in read])
    for field in (*task_layout.observation, task_layout.action)
    if field.kind == Kind.CONTINUOUS
  }


def _spread(total: int, most: int) -> list[int]:
  """Returns at most `most` of `total` indices, evenly over them."""
  return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int)).tolist()


def _whole(data: prepared.PreparedEpisodes, index: int) -> prepared.Window:
  """Reads all steps of an episode."""
  return data.read([(index, 0, int(data.lengths[index]))])


def _columns(index: int, window: prepared.Window) -> Columns:
  """Sorts the columns of an episode by kind; of images only hashes are kept."""
  numbers, images, texts = {}, {}, {}

  for key, column in window.observation.items():
    if column.dtype == object:
      texts[key] = [value.decode(errors="replace") for value in column]
    elif _is_image(column):
      images[key] = np.array([zlib.crc32(image.tobytes()) for image in column])
    else:
      numbers[key] = column.reshape(len(column), -1).astype(np.float64)

  numbers["action"] = window.action.reshape(len(window.action), -1).astype(np.float64)
  return Columns(index, numbers, images, texts)


def _is_image(column: np.ndarray) -> bool:
  return column.dtype == np.uint8 and column.ndim == 4


def _tokens(field: Any, task_layout: layout.TokenLayout, columns: Columns) -> np.ndarray:
  """Returns the bins [n, A] of a continuous field."""
  values = field.binned(columns.numbers[field.key])
  if field.key == "action":
    return task_layout.encode_actions(values) - vocabulary.CONTINUOUS_OFFSET

  if len(field.bins) == 1:
    return np.asarray(field.bins[0].encode(values))
  return np.stack([b.encode(values[:, i]) for i, b in enumerate(field.bins)], axis=1)


def _returns(data: prepared.PreparedEpisodes) -> dict[str, Any]:
  kept = np.zeros(len(data.lengths), bool)
  kept[data.kept] = True

  return {
    "episodes": len(data.lengths),
    "kept": int(kept.sum()),
    "expert_return": _number(data.expert_return),
    "returns": _histogram(data.returns),
    "lengths": _histogram(data.lengths.astype(np.float64)),
    "return_range": [_number(data.returns.min()), _number(data.returns.max())],
    "length_range": [int(data.lengths.min()), int(data.lengths.max())],
    "steps": int(data.lengths.sum()),
  }


def _fields(
  task_layout: layout.TokenLayout, read: list[Columns], bins: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
  """Returns a row for each number of each field: its range, quantiles and histogram over bins."""
  rows = []
  for field in (*task_layout.observation, task_layout.action):
    if field.key not in read[0].numbers:
      continue

    values = np.concatenate([columns.numbers[field.key] for columns in read])
    for number in range(min(values.shape[1], _CURVES)):
      column = values[:, number]
      low, middle, high = np.quantile(column, [0.01, 0.5, 0.99])
      row = {
        "field": field.key,
        "number": number,
        "range": [_number(v) for v in (column.min(), low, middle, high, column.max())],
        "bins": len(np.unique(column)),
        "of": "values",
        "histogram": _histogram(column),
      }
      if field.key in bins:
        ids = bins[field.key][:, number]
        row |= {"bins": len(np.unique(ids)), "of": "1,024 bins"}
        row["histogram"] = np.histogram(ids, _HISTOGRAM, (0, vocabulary.CONTINUOUS_BINS))[
          0
        ].tolist()
      rows.append(row)

  return rows


def _episode(
  data: prepared.PreparedEpisodes, task_layout: layout.TokenLayout, index: int
) -> dict[str, Any]:
  """Returns an episode's images, curves and tokens at some of its steps."""
  window = _whole(data, index)
  columns = _columns(index, window)
  length = len(window.action)
  steps = _spread(length, SHOWN_STEPS)
  shown = {key: column[steps] for key, column in window.observation.items()}
  encoded = task_layout.encode(shown, window.action[steps])

  return {
    "index": index,
    "length": length,
    "return": _number(data.returns[index]),
    "kept": bool(index in data.kept),
    "steps": steps,
    "images": {
      key: [_jpeg(image) for image in images] for key, images in shown.items() if _is_image(images)
    },
    "texts": {key: [texts[step] for step in steps] for key, texts in columns.texts.items()},
    "curves": {
      key: [[_number(v) for v in values[steps, i]] for i in range(min(values.shape[1], _CURVES))]
      for key, values in columns.numbers.items()
    },
    "tokens": [
      {"field": field.key, "ids": encoded.tokens[:, field.slice].tolist()}
      for field in (*task_layout.observation, task_layout.action)
      if field.kind != Kind.PATCH
    ],
  }


def _histogram(values: np.ndarray) -> list[int]:
  return np.histogram(values, _HISTOGRAM)[0].tolist()


def _number(value: float) -> float | None:
  """Returns a number with five digits, None where it is none."""
  return float(f"{value:.5g}") if np.isfinite(value) else None


def _jpeg(image: np.ndarray) -> str:
  """Returns an image as a data URL; small ones are enlarged without smoothing."""
  picture = Image.fromarray(image)
  scale = _SIDE / max(picture.size)
  way = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BILINEAR
  picture = picture.resize([max(1, round(side * scale)) for side in picture.size], way)

  content = io.BytesIO()
  picture.save(content, "JPEG", quality=80)
  return "data:image/jpeg;base64," + base64.b64encode(content.getvalue()).decode()
