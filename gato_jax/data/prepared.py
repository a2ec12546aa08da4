"""Windows of prepared episodes and documents, at a cost that does not grow with their length.

gato_jax/data/prepared_format.py has the format of the files. They are read with pread and not
mapped: resident memory stays flat, and a truncated file is an error, not a SIGBUS.
"""

import functools
import math
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import zstandard

from gato_jax.data import prepared_format, records
from gato_jax.data.demonstrations import Demonstration
from gato_jax.data.prepared_documents import PreparedDocuments
from gato_jax.data.prepared_file import PreparedFile
from gato_jax.env import chunks, results, returns
from gato_jax.env.returns import RETURN_TO_GO
from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec
from gato_jax.tokens import fields
from gato_jax.tokens.vocabulary import Kind

# Distinct texts that are cached: an instruction repeats through an episode.
_CACHED_TEXTS = 1024

# Groups of which demonstrations are kept, so that their file stays small.
_PROMPT_GROUPS = 128

# Steps [start, stop) of an episode: (episode, start, stop).
Piece = tuple[int, int, int]


class Window(NamedTuple):
  """Steps of episodes, in the form that training reads.

  Attributes:
    observation: Flat key -> column [n, ...].
    action: [n, ...], the executed actions.
    expert_action: [n, ...], the actions that the expert would have taken.
  """

  observation: dict[str, np.ndarray]
  action: np.ndarray
  expert_action: np.ndarray


class PreparedEpisodes(PreparedFile):
  """The episodes of a control task.

  Attributes:
    spec: The task's spec, from the dataset; with the return-to-go field where it was requested.
    directory: Directory of the dataset.
    returns: float64 [episodes], in collection order.
    lengths: int64 [episodes].
    groups: int64 [episodes]; episodes of equal numbers share what their observations hide.
    expert_return: Expert return of the undisturbed episodes (Reed et al. 2022, section 3.1); NaN
      where there are none and `keep` is 0, which corrections of a policy are read with.
    kept: Indices of the episodes whose return reaches `keep` of the expert return; all of them
      where `keep` is 0. Those of `validation` are not among them.
    validation: Indices of the episodes that the dataset itself holds out and whose return reaches
      as much.
  """

  def __init__(
    self,
    directory: pathlib.Path,
    spec: TaskSpec,
    keep: float = 0.8,
    with_returns: bool = False,
    chunk: int = 0,
  ):
    super().__init__(directory, spec)
    self._dtype = prepared_format.step_dtype(spec)
    self._kinds = {
      key: fields.kind_of(key, field) for key, field in sorted(spec.observation.items())
    }
    self._offsets = self.index["offset"].astype(np.int64)

    # Disturbed episodes were not played by the expert alone, so they do not count as its return.
    self.returns = self.index["return"]
    self.lengths = self.index["length"]
    self.groups = self.index["group"]
    is_training = np.arange(len(self.index)) < self.header.get("validation_from", len(self.index))
    undisturbed = self.returns[is_training & ~self.index["disturbed"]]
    self.expert_return = math.nan
    if len(undisturbed) or keep:
      self.expert_return = results.expert_return(undisturbed)

    is_kept = results.reaches(self.returns, self.expert_return, keep)
    self.kept = np.flatnonzero(is_kept & is_training)
    self.validation = np.flatnonzero(is_kept & ~is_training)

    if with_returns:
      self.spec = returns.with_return_to_go(spec, self.expert_return)

    self._chunk = chunk
    if chunk:
      self.spec = chunks.with_chunk(self.spec, chunk)

    self._text = functools.lru_cache(_CACHED_TEXTS)(self._read_text)

  def best(
    self, count: int = 4, episode_bytes: int = 4 << 20, among: np.ndarray | None = None
  ) -> list[Demonstration]:
    """Returns the best episodes of each group: demonstrations for prompting.

    They have the executed actions. Of a task without groups they are the best of all.

    An episode of more than `episode_bytes` loses its middle. Its first and last steps, which
    prompts are cut from, remain; only a prompt from a random position may cross the gap, and
    seldom does.

    Args:
      count: Number of episodes a group, of the first 128 groups.
      episode_bytes: Limit for a decoded episode; texts are not counted.
      among: Indices of the episodes that may be shown; by default all that are kept.
    """
    step_bytes = 0
    for field in (*self.spec.observation.values(), self.spec.action):
      if np.dtype(field.dtype) != object:
        step_bytes += int(np.prod(field.shape)) * np.dtype(field.dtype).itemsize
    half = max(1, episode_bytes // step_bytes // 2)

    demonstrations = []
    for episode in self.best_episodes(count, among):
      length = int(self.lengths[episode])
      if length <= 2 * half:
        pieces = [(episode, 0, length)]
      else:
        pieces = [(episode, 0, half), (episode, length - half, length)]
      demonstrations.append(self.windows(pieces))

    return demonstrations

  def best_episodes(self, count: int = 4, among: np.ndarray | None = None) -> list[int]:
    """Returns the episodes that `best` reads, in its order."""
    among = self.kept if among is None else among
    order = np.argsort(-self.returns[among], kind="stable")

    by_group: dict[int, list[int]] = {}
    for episode in among[order].tolist():
      by_group.setdefault(int(self.groups[episode]), []).append(episode)

    groups = list(by_group.values())[:_PROMPT_GROUPS]
    return [episode for episodes in groups for episode in episodes[:count]]

  def window(self, index: int, start: int, stop: int) -> Demonstration:
    """Reads flat observation columns and executed actions of steps [start, stop) of one episode."""
    return self.windows([(index, start, stop)])

  def windows(self, pieces: Sequence[Piece]) -> Demonstration:
    """Reads several pieces as `read` does, without the expert's actions."""
    window = self.read(pieces)
    return window.observation, window.action

  def read(self, pieces: Sequence[Piece]) -> Window:
    """Reads several pieces of episodes, one after the other, n steps in all.

    Raises:
      GatoError: The file does not hold what was written.
    """
    steps, action, expert_action = self._read_actions(pieces)
    ends = np.cumsum([stop - start for _, start, stop in pieces])

    observation = {}
    for key, kind in self._kinds.items():
      column = steps[f"observation/{key}"]
      if kind == Kind.TEXT:
        column = self._texts(column)
      elif kind == Kind.PATCH:
        column = self._images(column, ends, shape=self.spec.observation[key].shape)
      observation[key] = column

    # The file has returns in units of reward, the field in per cent of the expert return.
    if self.spec.expert_return is not None:
      observation[RETURN_TO_GO] = returns.percent(steps[RETURN_TO_GO], self.spec.expert_return)

    return Window(observation=observation, action=action, expert_action=expert_action)

  def _read_actions(self, pieces: Sequence[Piece]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads the packed steps [n] of several pieces, and their executed and expert's actions.

    Where the spec has chunks, an action is that of its step and of those that follow, which may lie
    beyond the piece.
    """
    if not self._chunk:
      steps = self._steps(pieces)
      return steps, steps["action"], steps["expert_action"]

    longer = [
      (episode, start, min(stop + self._chunk - 1, int(self.lengths[episode])))
      for episode, start, stop in pieces
    ]
    steps = self._steps(longer)

    # Where each longer piece begins and ends among the steps, and which of its steps are the piece.
    ends = np.cumsum([stop - start for _, start, stop in longer])
    own = []
    own_ends = []
    for (_, start, stop), (_, _, longer_stop), end in zip(pieces, longer, ends, strict=True):
      first = end - (longer_stop - start)
      own.append(first + np.arange(stop - start))
      own_ends.append(np.full(stop - start, end))

    positions = np.concatenate(own)
    indices = chunks.chunk_indices(positions, np.concatenate(own_ends), self._chunk)
    return steps[positions], steps["action"][indices], steps["expert_action"][indices]

  def actions(self, pieces: Sequence[Piece]) -> np.ndarray:
    """Reads the executed actions [n, ...] of several pieces, without the observations' images."""
    return self._steps(pieces)["action"]

  def returns_to_go(self, index: int, start: int, stop: int) -> np.ndarray:
    """Reads the returns-to-go of steps [start, stop) of one episode in units of reward.

    Returns:
      float32 [n]; the file has them even where the spec has no return-to-go.
    """
    return self._steps([(index, start, stop)])[RETURN_TO_GO]

  def _steps(self, pieces: Sequence[Piece]) -> np.ndarray:
    """Reads the packed steps [n] of several pieces and verifies their check sums."""
    # Packed steps have a fixed size, so a step's offset needs no index.
    size = self._dtype.itemsize
    content = []
    for episode, start, stop in pieces:
      offset = int(self._offsets[episode]) + start * size
      content.append(self.read_bytes(offset, (stop - start) * size))

    steps = np.frombuffer(b"".join(content), self._dtype)
    if not np.array_equal(prepared_format.check_sums(steps), steps["check"]):
      raise self.damaged()

    return steps

  def _texts(self, blobs: np.ndarray) -> np.ndarray:
    """Reads texts: BLOBs [n] -> bytes, dtype object [n], which is what TFDS gives."""
    texts = np.empty(len(blobs), object)
    texts[:] = [self._text(offset, size) for offset, size in blobs.tolist()]
    return texts

  def _read_text(self, offset: int, size: int) -> bytes:
    return self.decompress(zstandard.ZstdDecompressor(), self.read_bytes(offset, size))

  def _images(self, blobs: np.ndarray, ends: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Reads images: BLOBs [n] -> uint8 [n, *shape].

    Args:
      blobs: The images' frames.
      ends: Ends of the pieces among the n steps. The images of one piece are adjacent in the file.
      shape: Shape of an image.
    """
    # A decompressor must not be shared by threads.
    decompressor = zstandard.ZstdDecompressor()
    offsets = blobs["offset"].astype(np.int64)
    sizes = blobs["size"].astype(np.int64)

    images = []
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
      # One read for all images of the piece.
      block_offset = int(offsets[begin])
      block_end = int(offsets[end - 1] + sizes[end - 1])
      block = memoryview(self.read_bytes(block_offset, block_end - block_offset))

      starts = (offsets[begin:end] - block_offset).tolist()
      for start, size in zip(starts, sizes[begin:end].tolist(), strict=True):
        images.append(self.decompress(decompressor, block[start : start + size]))

    return np.frombuffer(b"".join(images), np.uint8).reshape(-1, *shape)


def load(
  tfds_dir: pathlib.Path,
  task: str,
  keep: float = 0.8,
  with_returns: bool = False,
  chunk: int = 0,
  version: str = "1.0.0",
) -> PreparedEpisodes | PreparedDocuments:
  """Opens the prepared dataset of "domain.task" under `tfds_dir`.

  Args:
    tfds_dir: Directory of all datasets.
    task: "domain.task".
    keep: Share of the expert return that an episode must reach to be kept.
    with_returns: True to add the return-to-go to the spec and the observations.
    chunk: Actions of a timestep, its own and those that follow; 0 for its own alone.
    version: Version of the dataset.

  Raises:
    GatoError: There is no dataset, or no prepared form that fits its records.
  """
  directory = records.directory_of(tfds_dir, task, version)
  spec = records.load_spec(directory)

  fault = prepared_format.fault(directory)
  if fault:
    raise GatoError(f"{fault}; run python -m experiments.build")

  if spec.is_document:
    return PreparedDocuments(directory, spec)

  return PreparedEpisodes(directory, spec, keep=keep, with_returns=with_returns, chunk=chunk)
