"""Writes LeRobot datasets of version 3.0 (Cadene et al. 2024), which LeRobot's own loader reads.

meta/info.json and meta/tasks.parquet are read by lerobot.py as well. A file of the tables or videos
holds many episodes; meta/episodes says which.

Legend: T frames of an episode, A numbers of a field.
"""

import json
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from gato_jax.errors import GatoError
from rlds_builders.recordings.recording import Field

_VERSION = "v3.0"
_TABLE = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
_EPISODES = "meta/episodes/chunk-000/file-000.parquet"

# Frames of a file, after which the next episode begins another one, and files of a chunk.
_FILE_FRAMES = 20_000
_CHUNK_FILES = 1000

# Of H.264: hardly a difference to the eye, and a key frame at every second frame, as LeRobot has
# it, so that any frame is read at once.
_VIDEO_OPTIONS = {"crf": "18", "g": "2"}

_QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}
_STATISTICS_IMAGES = 100  # of an episode

_BOOKKEEPING: dict[str, np.dtype[Any]] = {
  "timestamp": np.dtype(np.float32),
  "frame_index": np.dtype(np.int64),
  "episode_index": np.dtype(np.int64),
  "index": np.dtype(np.int64),
  "task_index": np.dtype(np.int64),
}

Statistics = dict[str, np.ndarray]


class LeRobotWriter:
  """Writes one dataset, an episode at a time; info.json, which makes it one, is written last."""

  def __init__(self, folder: pathlib.Path, fields: Mapping[str, Field], fps: int):
    """Begins a dataset.

    Args:
      folder: Its folder, which is empty or does not exist.
      fields: LeRobot's name -> field of a step, shape [A] or [H, W, 3].
      fps: Frames a second.
    """
    self._folder = folder
    self._fields = dict(fields)
    self._fps = fps

    self._tasks: dict[str, int] = {}
    self._rows: list[dict[str, Any]] = []
    self._statistics: list[dict[str, Statistics]] = []
    self._frames = 0

    self._videos = {name: _Videos(folder, name, fps) for name in self._image_names}
    self._tables = _Tables(folder, self._schema())

  @property
  def _image_names(self) -> list[str]:
    return [name for name, field in self._fields.items() if field.is_image]

  def add(self, columns: Mapping[str, np.ndarray], tasks: list[str]) -> None:
    """Writes an episode.

    Args:
      columns: Name -> [T, ...], as the fields say; texts are str.
      tasks: The task in words at each step, [T].
    """
    length = len(tasks)
    episode = len(self._rows)
    own = dict(columns)

    own["timestamp"] = (np.arange(length) / self._fps).astype(np.float32)
    own["frame_index"] = np.arange(length)
    own["episode_index"] = np.full(length, episode)
    own["index"] = self._frames + np.arange(length)
    own["task_index"] = np.array([self._tasks.setdefault(t, len(self._tasks)) for t in tasks])

    row: dict[str, Any] = {
      "episode_index": episode,
      "tasks": list(dict.fromkeys(tasks)),
      "length": length,
      "dataset_from_index": self._frames,
      "dataset_to_index": self._frames + length,
    }
    places = {"data": self._tables.add(own, length)}
    for name, videos in self._videos.items():
      places[f"videos/{name}"], start = videos.add(own[name])
      row[f"videos/{name}/from_timestamp"] = start / self._fps
      row[f"videos/{name}/to_timestamp"] = (start + length) / self._fps
    for prefix, file in places.items():
      row[f"{prefix}/chunk_index"], row[f"{prefix}/file_index"] = divmod(file, _CHUNK_FILES)

    self._rows.append(row)
    self._statistics.append({name: _statistics(column) for name, column in _numbers(own)})
    self._frames += length

  def close(self) -> None:
    """Completes the dataset.

    Raises:
      GatoError: It has no episode.
    """
    self._tables.close()
    for videos in self._videos.values():
      videos.close()
    if not self._rows:
      raise GatoError(f"{self._folder}: no episodes to write")

    (self._folder / "meta").mkdir(exist_ok=True)
    self._write_tasks()
    self._write_episodes()
    total = {name: _total([s[name] for s in self._statistics]) for name in self._statistics[0]}
    _write_json(self._folder / "meta/stats.json", _as_lists(total))
    _write_json(self._folder / "meta/info.json", self._info())

  def _schema(self) -> pa.Schema:
    """Returns the columns of the tables."""
    columns = []
    for name, field in self._fields.items():
      if field.is_image:
        continue
      if field.dtype == object:
        columns.append((name, pa.string()))
        continue

      number = pa.from_numpy_dtype(field.dtype)
      size = math.prod(side or 1 for side in field.shape)
      columns.append((name, number if size == 1 else pa.list_(number, size)))

    columns += [(name, pa.from_numpy_dtype(dtype)) for name, dtype in _BOOKKEEPING.items()]
    return pa.schema(columns)

  def _write_tasks(self) -> None:
    # LeRobot looks a task up by pandas' index, which the file's metadata names.
    index = "__index_level_0__"
    table = pa.table(
      {"task_index": pa.array(self._tasks.values(), pa.int64()), index: list(self._tasks)}
    )
    entry = {"pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    pandas = {
      "index_columns": [index],
      "column_indexes": [{"name": None, "field_name": None, **entry}],
      "columns": [
        {
          "name": "task_index",
          "field_name": "task_index",
          "pandas_type": "int64",
          "numpy_type": "int64",
          "metadata": None,
        },
        {"name": None, "field_name": index, **entry},
      ],
      "creator": {"library": "pyarrow", "version": pa.__version__},
      "pandas_version": "2.2.0",
    }
    table = table.replace_schema_metadata({"pandas": json.dumps(pandas)})
    pq.write_table(table, self._folder / "meta/tasks.parquet")

  def _write_episodes(self) -> None:
    rows = []
    for row, of_fields in zip(self._rows, self._statistics, strict=True):
      numbers = {
        f"stats/{name}/{statistic}": value
        for name, statistics in _as_lists(of_fields).items()
        for statistic, value in statistics.items()
      }
      rows.append({**row, **numbers, "meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})

    path = self._folder / _EPISODES
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)

  def _info(self) -> dict[str, Any]:
    features: dict[str, Any] = {}
    for name, field in self._fields.items():
      shape = list(field.shape) or [1]
      if field.is_image:
        video = {
          "video.height": shape[0],
          "video.width": shape[1],
          "video.codec": "h264",
          "video.pix_fmt": "yuv420p",
          "video.is_depth_map": False,
          "video.fps": self._fps,
          "video.channels": 3,
          "has_audio": False,
        }
        names = ["height", "width", "channels"]
        features[name] = {"dtype": "video", "shape": shape, "names": names, "info": video}
      else:
        kind = "string" if field.dtype == object else field.dtype.name
        features[name] = {"dtype": kind, "shape": shape, "names": None}

    for name, dtype in _BOOKKEEPING.items():
      features[name] = {"dtype": dtype.name, "shape": [1], "names": None}

    return {
      "codebase_version": _VERSION,
      "robot_type": None,
      "total_episodes": len(self._rows),
      "total_frames": self._frames,
      "total_tasks": len(self._tasks),
      "chunks_size": _CHUNK_FILES,
      "data_files_size_in_mb": 100,
      "video_files_size_in_mb": 200,
      "fps": self._fps,
      "splits": {"train": f"0:{len(self._rows)}"},
      "data_path": _TABLE,
      "video_path": _VIDEO if self._videos else None,
      "features": features,
    }


class _Tables:
  """The tables of all episodes, some episodes a file."""

  def __init__(self, folder: pathlib.Path, schema: pa.Schema):
    self._folder = folder
    self._schema = schema
    self._file = -1
    self._frames = 0
    self._writer: pq.ParquetWriter | None = None

  def add(self, columns: Mapping[str, np.ndarray], length: int) -> int:
    """Writes an episode and returns the index of its file."""
    if self._writer is None or self._frames + length > _FILE_FRAMES:
      self.close()
      self._file += 1
      path = _path(self._folder, _TABLE, self._file)
      self._writer = pq.ParquetWriter(path, self._schema)
      self._frames = 0

    arrays = [_arrow(columns[field.name], field.type) for field in self._schema]
    self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
    self._frames += length
    return self._file

  def close(self) -> None:
    if self._writer is not None:
      self._writer.close()
      self._writer = None


class _Videos:
  """The videos of one camera, some episodes a file."""

  def __init__(self, folder: pathlib.Path, name: str, fps: int):
    self._folder = folder
    self._name = name
    self._fps = fps
    self._file = -1
    self._frames = 0
    self._container: Any = None
    self._stream: Any = None

  def add(self, images: np.ndarray) -> tuple[int, int]:
    """Writes uint8 [T, H, W, 3]; returns the index of the file, and of the first frame in it."""
    if self._container is None or self._frames + len(images) > _FILE_FRAMES:
      self.close()
      self._file += 1
      path = _path(self._folder, _VIDEO, self._file, video_key=self._name)
      self._container = av.open(str(path), "w")
      self._stream = self._container.add_stream("libx264", rate=self._fps, options=_VIDEO_OPTIONS)
      self._stream.height, self._stream.width = images.shape[1:3]
      self._stream.pix_fmt = "yuv420p"
      self._frames = 0

    start = self._frames
    for image in images:
      frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
      self._container.mux(self._stream.encode(frame))
    self._frames += len(images)
    return self._file, start

  def close(self) -> None:
    if self._container is not None:
      self._container.mux(self._stream.encode())
      self._container.close()
      self._container = None


def _path(folder: pathlib.Path, pattern: str, file: int, **names: str) -> pathlib.Path:
  chunk, index = divmod(file, _CHUNK_FILES)
  path = folder / pattern.format(chunk_index=chunk, file_index=index, **names)
  path.parent.mkdir(parents=True, exist_ok=True)
  return path


def _arrow(column: np.ndarray, kind: pa.DataType) -> pa.Array:
  """Returns a column [T, ...] as Arrow's numbers, lists or strings."""
  if pa.types.is_string(kind):
    return pa.array(column.tolist(), kind)
  if not pa.types.is_fixed_size_list(kind):
    return pa.array(column.reshape(len(column)), kind)
  return pa.FixedSizeListArray.from_arrays(
    pa.array(column.ravel(), kind.value_type), kind.list_size
  )


def _numbers(columns: Mapping[str, np.ndarray]) -> list[tuple[str, np.ndarray]]:
  """Returns the columns that have statistics: float64 [T, A], or [n, 3, 1, 1] of images."""
  numbers = []
  for name, column in columns.items():
    if column.dtype == object:
      continue

    if column.ndim == 4:
      # The channels of some images, black 0 and white 1; every pixel counts.
      some = np.linspace(0, len(column) - 1, min(len(column), _STATISTICS_IMAGES)).astype(int)
      pixels = column[some].reshape(-1, 3).astype(np.float64) / 255
      numbers.append((name, pixels.reshape(-1, 3, 1, 1)))
    else:
      numbers.append((name, column.reshape(len(column), -1).astype(np.float64)))

  return numbers


def _statistics(values: np.ndarray) -> Statistics:
  """Returns LeRobot's statistics over the first axis."""
  quantiles = np.quantile(values, list(_QUANTILES.values()), axis=0)
  return {
    "min": values.min(0),
    "max": values.max(0),
    "mean": values.mean(0),
    "std": values.std(0),
    "count": np.array([len(values)]),
    **dict(zip(_QUANTILES, quantiles, strict=True)),
  }


def _total(episodes: list[Statistics]) -> Statistics:
  """Returns the statistics of all episodes; their quantiles are averages, as LeRobot has them."""
  counts = np.concatenate([s["count"] for s in episodes])

  def average(name: str, values: list[np.ndarray] | None = None) -> np.ndarray:
    return np.average(values or [s[name] for s in episodes], axis=0, weights=counts)

  mean = average("mean")
  variance = average("std", [s["std"] ** 2 + (s["mean"] - mean) ** 2 for s in episodes])
  return {
    "min": np.min([s["min"] for s in episodes], axis=0),
    "max": np.max([s["max"] for s in episodes], axis=0),
    "mean": mean,
    "std": np.sqrt(variance),
    "count": np.array([counts.sum()]),
    **{name: average(name) for name in _QUANTILES},
  }


def _as_lists(statistics: Mapping[str, Statistics]) -> dict[str, dict[str, Any]]:
  return {
    name: {key: value.tolist() for key, value in of_field.items()}
    for name, of_field in statistics.items()
  }


def _write_json(path: pathlib.Path, content: Any) -> None:
  path.write_text(json.dumps(content, indent=2))
