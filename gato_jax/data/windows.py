"""Which steps make a window, which a prompt, and how samples are packed into a row of L tokens.

Legend: L tokens a row, T tokens a step, P patches a row at the most. A row is a pure function of its random generator.
"""

from typing import NamedTuple

import numpy as np

from gato_jax.data import episodes
from gato_jax.errors import GatoError
from gato_jax.mixture import MixtureConfig
from gato_jax.tokens import codec, layout, prose, vocabulary
from gato_jax.tokens.vocabulary import Kind

FEATURES = {  # key -> (dtype, rank) of one row; docs/batch.md has the meanings
  "tokens": (np.int32, 1),
  "labels": (np.int32, 1),
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

  def __init__(self, length: int, component: int):
    self.arrays = {
      "tokens": np.full(length, vocabulary.PADDING_ID, np.int32),
      "labels": np.full(length, vocabulary.PADDING_ID, np.int32),
      "kinds": np.full(length, Kind.PADDING, np.int32),
      "locals": np.full(length, -1, np.int32),
      "segments": np.zeros(length, np.int32),
      "targets": np.zeros(length, np.bool_),
      "patches": np.zeros([0, 16, 16, 3], np.uint8),
      "patch_positions": np.zeros([0, 4], np.int32),
      "patch_slots": np.zeros(length, np.int32),
      "components": np.int32(component),
    }
    self.used = 0
    self._length = length

  @property
  def room(self) -> int:
    return self._length - self.used

  def append(self, segments, tokens, labels, kinds, places, targets) -> None:
    """Adds flat tokens [n] and labels [n] with their segments, [n] or one."""
    at = slice(self.used, self.used + len(tokens))
    a = self.arrays
    a["tokens"][at], a["labels"][at] = tokens, labels
    a["kinds"][at], a["locals"][at], a["targets"][at] = kinds, places, targets
    a["segments"][at] = np.where(kinds == Kind.PADDING, 0, segments)
    self.used += len(tokens)

  def show(self, pixels: np.ndarray, positions: np.ndarray) -> None:
    """Gives the row's PATCH tokens their patches [p, 16, 16, 3] with positions [p, 4], in their order."""
    a = self.arrays
    a["patches"], a["patch_positions"] = pixels, positions
    a["patch_slots"][a["kinds"] == Kind.PATCH] = np.arange(len(pixels))

  def finish(self) -> dict[str, np.ndarray]:
    """A target is predicted from the position before it: without one in its own segment it is none."""
    a = self.arrays
    predecessor = np.concatenate([[0], a["segments"][:-1]])
    a["targets"] &= (a["segments"] > 0) & (predecessor == a["segments"])
    return a


def split(indices: np.ndarray, config: MixtureConfig, held_out: bool, name: str) -> np.ndarray:
  """Returns those of the usable episodes or documents that train, or those that are held out.

  Every `config.hold_out`-th one is held out.
  """
  is_held = np.zeros(len(indices), bool)
  if config.hold_out:
    is_held = (np.arange(len(indices)) + 1) % config.hold_out == 0

  part = indices[is_held if held_out else ~is_held]
  if not len(part):
    side = "to hold out" if held_out else "to train on"
    raise GatoError(f"{name}: with data.hold_out={config.hold_out} {side} there are none of {len(indices)}; change it")
  return part


def held_out_episodes(data: episodes.Episodes, config: MixtureConfig) -> np.ndarray:
  """Indices of the episodes that count and never train; GatoError where there are none."""
  return split(data.kept, config, held_out=True, name=data.spec.name)


def _subset(training: np.ndarray, data: episodes.Episodes, config: MixtureConfig) -> np.ndarray:
  """Returns those of the training episodes that config.episodes leaves: nested subsets of the best ones."""
  count = config.episodes.get(data.spec.name, 0)
  if not count:
    return training
  if count > len(training):
    raise GatoError(
      f"{data.spec.name}: {count} episodes are asked for, {len(training)} count; collect more or ask for fewer"
    )

  best = training[np.argsort(-data.returns[training], kind="stable")][: config.best]
  if count > len(best):
    raise GatoError(f"{data.spec.name}: {count} of the data.best={config.best} episodes cannot be drawn; raise it")
  return best[np.random.default_rng(config.draw).permutation(len(best))[:count]]


class _Piece(NamedTuple):
  """Steps [start, stop) of an episode in a row's sample number `segment`."""

  episode: int
  start: int
  stop: int
  segment: int
  is_prompt: bool


class EpisodeWindows:
  """Rows of a control task: windows of its episodes, some behind a prompt, short ones packed.

  Attributes:
    episodes: int64, indices of the dataset's episodes that rows are drawn from.
  """

  def __init__(
    self,
    data: episodes.Episodes,
    text: codec.TextCodec,
    config: MixtureConfig,
    max_local_positions: int,
    held_out: bool = False,
  ):
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

    self.episodes = split(data.kept, config, held_out, data.spec.name)
    if not held_out:  # what is held out measures all runs alike, however little they train on
      self.episodes = _subset(self.episodes, data, config)
    self.patch_capacity = self._window_steps * self.layout.patch_count

  def row(self, random: np.random.Generator, component: int) -> dict[str, np.ndarray]:
    """Draws a row. All its samples are drawn before any step is read: they are read and encoded at once."""
    pieces = self._draw(random)
    counts = [piece.stop - piece.start for piece in pieces]
    window = self._data.read([piece[:3] for piece in pieces])
    steps = self.layout.encode(window.observation, window.action)
    self._choose_actions(steps.tokens, labels := steps.tokens.copy(), window.expert_action, pieces)

    targets = steps.targets
    if not self._config.observation_text_targets:
      targets = targets & (steps.kinds == Kind.ACTION)

    row = _Row(self._config.sequence_length, component)
    row.append(
      np.repeat([piece.segment for piece in pieces], np.multiply(counts, self.layout.length)),
      *(a.reshape(-1) for a in (steps.tokens, labels, steps.kinds, steps.locals, targets)),
    )
    row.show(steps.patches.reshape(-1, 16, 16, 3), np.tile(self.layout.patch_positions, (sum(counts), 1)))
    return row.finish()

  def _choose_actions(self, tokens: np.ndarray, labels: np.ndarray, expert_action: np.ndarray, pieces) -> None:
    """Puts the expert's actions in the place of the executed ones where they belong (mixture.MixtureConfig).

    Args:
      tokens, labels: int32 [n, T], with the executed actions; they are changed.
      expert_action: [n, ...].
    """
    if not self._config.learns_expert:
      return
    at = self.layout.action.slice
    expert_tokens = self.layout.encode_actions(expert_action)
    labels[:, at] = expert_tokens

    # Within a step, later action tokens follow earlier ones: when acting those are the network's own, which imitate the
    # expert's. Later steps see what was executed, as when acting, and so does whoever is prompted.
    holds_expert = np.zeros(len(tokens), bool)
    end = 0
    for piece in pieces:
      start, end = end, end + piece.stop - piece.start
      if not piece.is_prompt:
        holds_expert[start:end] = self._config.past_actions == "expert"
        holds_expert[end - 1] = True  # no later step sees it
    tokens[holds_expert, at] = expert_tokens[holds_expert]

  def _draw(self, random: np.random.Generator) -> list[_Piece]:
    """Draws the row's samples: a sample is a piece, or a prompt and a piece.

    The order of the draws is part of what a run is: another order is another run.
    """
    config, usable, lengths = self._config, self.episodes, self._data.lengths
    pieces = []
    left, segment = self._window_steps, 0  # steps
    while left:
      segment += 1
      room = min(left, config.window_steps or left)
      place = int(random.integers(len(usable)))
      episode = int(usable[place])

      if random.random() < config.prompt_probability and len(usable) > 1 and room >= 2:
        other = int(random.integers(len(usable) - 1))
        other = int(usable[other + (other >= place)])  # any but `episode`
        at_end = random.random() < config.prompt_end_probability
        length = int(lengths[other])
        n = min(room // 2, length)  # at most half of the budget
        start = length - n if at_end else int(random.integers(length - n + 1))
        pieces.append(_Piece(other, start, start + n, segment, is_prompt=True))
        room -= n
        left -= n

      start, stop = _overhanging(random, room, int(lengths[episode]))
      pieces.append(_Piece(episode, start, stop, segment, is_prompt=False))
      left -= stop - start
    return pieces


def _overhanging(random: np.random.Generator, room: int, length: int) -> tuple[int, int]:
  """Draws a window [start, stop) of at most `room` places of `length`, each place as likely as any other.

  The window may hang over both ends and is cut there. With starts inside only, the first and last places, on which
  acting depends most, would hardly be seen.
  """
  start = int(random.integers(1 - room, length))
  return max(0, start), min(length, start + room)


class DocumentWindows:
  """Rows of a document task: some image-text pairs one after the other, or pieces of documents, packed."""

  def __init__(self, data: episodes.Documents, text: codec.TextCodec, config: MixtureConfig, held_out: bool = False):
    if data.tokenizer != episodes.tokenizer_fingerprint(text):
      raise GatoError(f"{data.directory} is prepared with another tokenizer; run python -m experiments.build")
    self._data = data
    self._config = config
    found = split(np.arange(data.documents.max() + 1), config, held_out, data.spec.name)  # by document: a picture's
    self._sequences = np.flatnonzero(np.isin(data.documents, found))  # captions are all on one side
    self._pairs = config.pairs if data.spec.document_kind in ("captions", "questions") else 0
    length, most = config.sequence_length, int(data.patches.max())
    together = self._pairs or max(1, round(length / data.lengths.mean()))
    self.patch_capacity = min(length, most * together)

  def row(self, random: np.random.Generator, component: int) -> dict[str, np.ndarray]:
    row = _Row(self._config.sequence_length, component)
    pieces = [self._concatenated(random)] if self._pairs else self._packed(random, row.room)
    for segment, piece in enumerate(pieces, 1):
      n = len(piece.tokens)
      targets = piece.kinds == Kind.TEXT
      if not self._config.question_targets:
        targets &= ~piece.given
      row.append(segment, piece.tokens, piece.tokens, piece.kinds, np.full(n, -1), targets)
    row.show(np.concatenate([p.patches for p in pieces]), np.concatenate([p.positions for p in pieces]))
    return row.finish()

  def _concatenated(self, random: np.random.Generator) -> prose.Prose:
    """`pairs` sequences as one, cut at random where they are too long (GATO_SPEC section 1)."""
    drawn = self._sequences[random.integers(len(self._sequences), size=self._pairs)].tolist()
    whole = prose.join([self._data.window(i, 0, int(self._data.lengths[i])) for i in drawn])
    excess = len(whole.tokens) - self._config.sequence_length
    return prose.cut(whole, int(random.integers(excess + 1)), self._config.sequence_length) if excess > 0 else whole

  def _packed(self, random: np.random.Generator, room: int) -> list[prose.Prose]:
    """Pieces until the row is full, or its patches are."""
    pieces, patches = [], self.patch_capacity
    while room > 1:  # a single token could not be predicted from anything
      sequence = int(self._sequences[random.integers(len(self._sequences))])
      length = int(self._data.lengths[sequence])
      start, stop = (0, length) if length <= room else _overhanging(random, room, length)
      piece = self._data.window(sequence, start, stop)
      fits = int(np.searchsorted(np.cumsum(piece.kinds == Kind.PATCH), patches, side="right"))
      pieces.append(prose.cut(piece, 0, fits))
      room -= fits
      patches -= len(pieces[-1].patches)
      if fits < len(piece.tokens):
        break
    return pieces


Windows = EpisodeWindows | DocumentWindows


def make_windows(
  data: episodes.Episodes | episodes.Documents,
  text: codec.TextCodec,
  config: MixtureConfig,
  max_local_positions: int,
  held_out: bool = False,
) -> Windows:
  """held_out: windows of what config.hold_out keeps from training, instead of the rest."""
  if isinstance(data, episodes.Documents):
    return DocumentWindows(data, text, config, held_out)
  return EpisodeWindows(data, text, config, max_local_positions, held_out)
