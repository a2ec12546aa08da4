"""Which steps make a window, which a prompt, and how samples are packed into a row of L tokens.

Legend: L tokens a row, T tokens a step, P patches a row at the most. A row is a pure function of its random generator.
"""

import numpy as np

from gato_jax.data import episodes
from gato_jax.errors import GatoError
from gato_jax.mixture import MixtureConfig
from gato_jax.tokens import codec, layout, vocabulary
from gato_jax.tokens.vocabulary import Kind

FEATURES = {  # key -> (dtype, rank) of one row; docs/batch.md has the meanings
  "tokens": (np.int32, 1),
  "kinds": (np.int32, 1),
  "locals": (np.int32, 1),
  "segments": (np.int32, 1),
  "targets": (np.bool_, 1),
  "patches": (np.uint8, 4),
  "patch_positions": (np.int32, 2),
  "patch_slots": (np.int32, 1),
  "components": (np.int32, 0),
}


class _Row:
  """A row being filled."""

  def __init__(self, length: int, patch_capacity: int, component: int):
    self.arrays = {
      "tokens": np.full(length, vocabulary.PADDING_ID, np.int32),
      "kinds": np.full(length, Kind.PADDING, np.int32),
      "locals": np.full(length, -1, np.int32),
      "segments": np.zeros(length, np.int32),
      "targets": np.zeros(length, np.bool_),
      "patches": np.zeros([patch_capacity, 16, 16, 3], np.uint8),
      "patch_positions": np.zeros([patch_capacity, 4], np.int32),
      "patch_slots": np.zeros(length, np.int32),
      "components": np.int32(component),
    }
    self.used = 0
    self._patches = 0
    self._length = length

  @property
  def room(self) -> int:
    return self._length - self.used

  def append(self, segment: int, tokens, kinds, places, targets, pixels, positions) -> None:
    """Adds flat tokens [n] and their patches [p, 16, 16, 3] with positions [p, 4]."""
    at = slice(self.used, self.used + len(tokens))
    a = self.arrays
    a["tokens"][at], a["kinds"][at], a["locals"][at], a["targets"][at] = tokens, kinds, places, targets
    a["segments"][at] = np.where(kinds == Kind.PADDING, 0, segment)
    is_patch = kinds == Kind.PATCH
    slots = slice(self._patches, self._patches + len(pixels))
    a["patches"][slots], a["patch_positions"][slots] = pixels, positions
    a["patch_slots"][at][is_patch] = np.arange(slots.start, slots.stop)
    self.used += len(tokens)
    self._patches += len(pixels)

  def finish(self) -> dict[str, np.ndarray]:
    """A target is predicted from the position before it: without one in its own segment it is none."""
    a = self.arrays
    predecessor = np.concatenate([[0], a["segments"][:-1]])
    a["targets"] &= (a["segments"] > 0) & (predecessor == a["segments"])
    return a


class EpisodeWindows:
  """Rows of a control task: windows of its episodes, some behind a prompt, short ones packed."""

  def __init__(self, data: episodes.Episodes, text: codec.TextCodec, config: MixtureConfig, max_local_positions: int):
    self._data = data
    self._config = config
    self.layout = layout.TokenLayout(data.spec, text, max_local_positions)
    self._window_steps = config.sequence_length // self.layout.length
    if not self._window_steps:
      raise GatoError(
        f"{data.spec.name}: one step takes {self.layout.length} tokens, a sequence has {config.sequence_length}; raise "
        "--config.data.sequence_length"
      )
    if not len(data.kept):
      raise GatoError(f"{data.spec.name}: no episode reaches {config.keep:.0%} of the expert return; collect more")
    self.patch_capacity = self._window_steps * self.layout.patch_count

  def row(self, random: np.random.Generator, component: int, patch_capacity: int) -> dict[str, np.ndarray]:
    row = _Row(self._config.sequence_length, patch_capacity, component)
    segment = 0
    while row.room >= self.layout.length:
      segment += 1
      self._append_sample(row, segment, random)
    return row.finish()

  def _append_sample(self, row: _Row, segment: int, random: np.random.Generator) -> None:
    """One window of an episode of its own segment, behind a prompt if the dice say so."""
    kept = self._data.kept
    room = row.room // self.layout.length  # steps
    room = min(room, self._config.window_steps or room)
    episode = int(random.choice(kept))
    prompted = random.random() < self._config.prompt_probability
    if prompted and len(kept) > 1 and room >= 2:
      other = int(random.choice(kept[kept != episode]))
      at_end = random.random() < self._config.prompt_end_probability
      length = int(self._data.lengths[other])
      n = min(room // 2, length)  # at most half of the budget
      start = length - n if at_end else int(random.integers(length - n + 1))
      self._append_steps(row, segment, other, start, start + n)
      room -= n
    length = int(self._data.lengths[episode])
    # Every step of an episode is as likely as any other: the window may hang over both ends. With starts inside the
    # episode only, the first steps, on which acting depends most, would hardly be seen.
    start = int(random.integers(1 - room, length))
    self._append_steps(row, segment, episode, max(0, start), min(length, start + room))

  def _append_steps(self, row: _Row, segment: int, episode: int, start: int, stop: int) -> None:
    observation, action = self._data.window(episode, start, stop)
    steps = self.layout.encode(observation, action)
    targets = steps.targets
    if not self._config.observation_text_targets:
      targets = targets & (steps.kinds == Kind.ACTION)
    row.append(
      segment,
      *(a.reshape(-1) for a in (steps.tokens, steps.kinds, steps.locals, targets)),
      steps.patches.reshape(-1, 16, 16, 3),
      np.tile(self.layout.patch_positions, (stop - start, 1)),
    )


class DocumentWindows:
  """Rows of a text task: pieces of documents, packed."""

  patch_capacity = 0

  def __init__(self, data: episodes.Documents, text: codec.TextCodec, config: MixtureConfig):
    self._data = data
    self._text = text
    self._config = config

  def row(self, random: np.random.Generator, component: int, patch_capacity: int) -> dict[str, np.ndarray]:
    row = _Row(self._config.sequence_length, patch_capacity, component)
    segment = 0
    while row.room > 1:  # a single token could not be predicted from anything
      segment += 1
      tokens = self._text.encode(self._data.text(int(random.integers(len(self._data)))))
      start = int(random.integers(max(1, len(tokens) - row.room + 1)))
      tokens = tokens[start : start + row.room]
      n = len(tokens)
      no_patches = (np.zeros([0, 16, 16, 3], np.uint8), np.zeros([0, 4], np.int32))
      row.append(segment, tokens, np.full(n, Kind.TEXT), np.full(n, -1), np.ones(n, bool), *no_patches)
    return row.finish()


Windows = EpisodeWindows | DocumentWindows


def make_windows(
  data: episodes.Episodes | episodes.Documents, text: codec.TextCodec, config: MixtureConfig, max_local_positions: int
) -> Windows:
  if isinstance(data, episodes.Documents):
    return DocumentWindows(data, text, config)
  return EpisodeWindows(data, text, config, max_local_positions)
