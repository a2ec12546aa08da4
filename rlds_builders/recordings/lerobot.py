"""LeRobot datasets of versions 2.1 and 3.0 (Cadene et al. 2024): parquet tables and MP4 videos.

meta/info.json   fps, features, splits, and where tables and videos lie
meta/tasks       number -> the task in words, a JSON a line (2.1) or a table (3.0)
meta/episodes    where each episode lies (3.0)
"""

import io
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from gato_jax.errors import GatoError
from rlds_builders.recordings import recording
from rlds_builders.recordings.recording import Field

# LeRobot's names -> ours; dots of all others become slashes.
_NAMES = {"next.reward": recording.REWARD, "next.done": recording.TERMINAL}
_BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")


class LeRobotEpisodes:
  """Episodes of a dataset's folder (recording.Recording).

  Raises:
    GatoError: The folder is none, or of a version that is not known.
  """

  def __init__(self, folder: pathlib.Path):
    self._folder = folder
    try:
      self._info = json.loads((folder / "meta/info.json").read_text())
    except (OSError, ValueError) as e:
      raise GatoError(f"{folder}: meta/info.json cannot be read ({e}); get it again") from e

    self._version = str(self._info.get("codebase_version", "?"))
    if not self._version.startswith(("v2.", "v3.")):
      raise GatoError(
        f"{folder} is of LeRobot's version {self._version}, and 2.1 and 3.0 are read; "
        "convert it by LeRobot's own scripts"
      )

    # Our path -> LeRobot's name of a field.
    self._names = {
      _NAMES.get(name, name.replace(".", "/")): name
      for name in self._info["features"]
      if name not in _BOOKKEEPING
    }
    self.fields = {path: self._field(name) for path, name in self._names.items()}
    self.fields[recording.INSTRUCTION] = recording.TEXT

    self._ranges = {}
    total = int(self._info["total_episodes"])
    for split, text in self._info.get("splits", {"train": f"0:{total}"}).items():
      start, stop = map(int, text.split(":"))
      self._ranges[split] = range(start, stop)
    self.splits = {split: len(numbers) for split, numbers in self._ranges.items()}

    self._tasks = self._read_tasks()
    self._places = self._read_places() if self._version.startswith("v3") else {}
    self._table: tuple[pathlib.Path | None, Any] = (None, None)

  def episodes(self, split: str, used: Collection[str]) -> Iterator[dict[str, np.ndarray]]:
    for number in self._ranges[split]:
      yield self._columns(number, used)

  def _field(self, name: str) -> Field:
    feature = self._info["features"][name]
    shape = tuple(feature["shape"])

    if feature["dtype"] in ("video", "image"):
      # Older datasets put the channels first.
      if shape[0] in (1, 3) and shape[2] not in (1, 3):
        shape = (*shape[1:], shape[0])
      return Field(shape, np.dtype(np.uint8), is_image=True)

    if feature["dtype"] == "string":
      return recording.TEXT
    # One number a step is an array of one in LeRobot's description, and a scalar in its tables.
    return Field(shape, np.dtype(feature["dtype"]))

  def _columns(self, number: int, used: Collection[str]) -> dict[str, np.ndarray]:
    place = self._places.get(number, {})
    names = {path: self._names[path] for path in used if path in self._names}
    kinds = {path: self._info["features"][name]["dtype"] for path, name in names.items()}

    in_table = [name for path, name in names.items() if kinds[path] != "video"]
    table = self._rows(number, place, [*in_table, "task_index"])
    length = table.num_rows

    columns = {}
    for path, name in names.items():
      if kinds[path] == "video":
        columns[path] = self._frames(number, place, name, length)
      elif kinds[path] == "image":
        columns[path] = np.stack([_decoded(cell) for cell in table[name].to_pylist()])
      else:
        columns[path] = _values(table[name], self.fields[path])

    if recording.INSTRUCTION in used:
      tasks = [self._tasks[index].encode() for index in table["task_index"].to_pylist()]
      columns[recording.INSTRUCTION] = np.array(tasks, object)
    return columns

  def _rows(self, number: int, place: Mapping[str, Any], names: list[str]) -> pa.Table:
    """Returns the rows of an episode; a file of many is read once."""
    path = self._folder / self._info["data_path"].format(
      episode_chunk=number // int(self._info.get("chunks_size", 1000)),
      episode_index=number,
      chunk_index=place.get("data/chunk_index"),
      file_index=place.get("data/file_index"),
    )

    if self._table[0] != path:
      try:
        self._table = path, pq.read_table(path, columns=[*names, "episode_index"])
      except (OSError, pa.ArrowException) as e:
        raise GatoError(f"{path}: cannot be read ({_one_line(e)}); get it again") from e

    table = self._table[1]
    return table.filter(pa.compute.equal(table["episode_index"], number))

  def _frames(self, number: int, place: Mapping[str, Any], name: str, length: int) -> np.ndarray:
    """Returns the frames of an episode, uint8 [T, H, W, 3]."""
    path = self._folder / self._info["video_path"].format(
      video_key=name,
      episode_chunk=number // int(self._info.get("chunks_size", 1000)),
      episode_index=number,
      chunk_index=place.get(f"videos/{name}/chunk_index"),
      file_index=place.get(f"videos/{name}/file_index"),
    )
    # A video of 3.0 holds many episodes.
    start = float(place.get(f"videos/{name}/from_timestamp", 0.0))
    half_frame = 0.5 / float(self._info["fps"])

    frames = []
    try:
      with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if start and stream.time_base:
          container.seek(int(start / stream.time_base), stream=stream)

        for frame in container.decode(stream):
          if frame.time >= start - half_frame:
            frames.append(frame.to_ndarray(format="rgb24"))
          if len(frames) == length:
            break
    except (OSError, av.FFmpegError) as e:
      raise GatoError(f"{path}: cannot be decoded ({_one_line(e)}); get it again") from e

    if len(frames) < length:
      raise GatoError(
        f"{path}: episode {number} has {length} steps and {len(frames)} frames; get it again"
      )
    return np.stack(frames)

  def _read_tasks(self) -> dict[int, str]:
    """Returns the number of each task -> the task in words."""
    lines = self._folder / "meta/tasks.jsonl"
    if lines.exists():
      rows = [json.loads(line) for line in lines.read_text().splitlines() if line.strip()]
      return {int(row["task_index"]): row["task"] for row in rows}

    table = self._read_meta("tasks.parquet")
    # The words are the table's index, whose column has pandas' own name.
    (words,) = [name for name in table.column_names if name != "task_index"]
    return dict(zip(table["task_index"].to_pylist(), table[words].to_pylist(), strict=True))

  def _read_places(self) -> dict[int, dict[str, Any]]:
    """Returns the number of each episode -> the files that it is in."""
    places = {}
    for path in sorted((self._folder / "meta/episodes").glob("*/*.parquet")):
      table = self._read_meta(str(path.relative_to(self._folder / "meta")))
      kept = [n for n in table.column_names if n.startswith(("data/", "videos/", "episode_index"))]
      for row in table.select(kept).to_pylist():
        places[int(row["episode_index"])] = row

    missing = sorted({n for numbers in self._ranges.values() for n in numbers} - set(places))
    if missing:
      raise GatoError(f"{self._folder}/meta/episodes lacks episode {missing[0]}; get it again")
    return places

  def _read_meta(self, name: str) -> pa.Table:
    path = self._folder / "meta" / name
    try:
      return pq.read_table(path)
    except (OSError, pa.ArrowException) as e:
      raise GatoError(f"{path}: cannot be read ({_one_line(e)}); get it again") from e


def _values(column: pa.ChunkedArray, field: Field) -> np.ndarray:
  """Returns a column of numbers or texts as [T, ...]."""
  if field.dtype == object:
    return np.array([text.encode() for text in column.to_pylist()], object)

  array: Any = column.combine_chunks()
  while pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
    array = array.flatten()
  return np.asarray(array).reshape(len(column), *field.shape).astype(field.dtype)


def _decoded(cell: Mapping[str, Any]) -> np.ndarray:
  """Decodes an image that a table holds."""
  return np.asarray(Image.open(io.BytesIO(cell["bytes"])).convert("RGB"))


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())
