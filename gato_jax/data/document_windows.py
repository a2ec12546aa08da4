"""Draws sequences from documents and packs them into rows of L tokens.

See Reed et al. 2022, section 3.2, and docs/paper.md for what is our decision. A row is a pure
function of its random generator; docs/batch.md has its arrays.
"""

import numpy as np

from gato_jax.data import draws, prepared, prepared_format
from gato_jax.data.mixture import MixtureConfig
from gato_jax.data.rows import RowBuilder
from gato_jax.data.splits import split_indices
from gato_jax.errors import GatoError
from gato_jax.tokens import codec, document_layout
from gato_jax.tokens.vocabulary import Kind


class DocumentWindows:
  """Rows of a document task: some image-text pairs one after the other, or packed pieces.

  Attributes:
    patch_capacity: P.
  """

  def __init__(
    self,
    data: prepared.PreparedDocuments,
    text: codec.TextCodec,
    config: MixtureConfig,
    split: str = "train",
  ):
    """Selects the documents of a split.

    Raises:
      GatoError: The dataset was prepared with another tokenizer, or no document is left.
    """
    if data.tokenizer != prepared_format.tokenizer_fingerprint(text):
      raise GatoError(
        f"{data.directory} is prepared with another tokenizer; run python -m experiments.build"
      )

    self._data = data
    self._config = config

    # Split by document, so that all captions of an image are in one split.
    documents = np.arange(data.documents.max() + 1)
    selected = split_indices(documents, config, split=split, task_name=data.spec.name)
    self._sequences = np.flatnonzero(np.isin(data.documents, selected))

    has_pairs = data.spec.document_kind in ("captions", "questions")
    self._pairs = config.pairs if has_pairs else 0

    # Room for the patches of the expected number of sequences, at most one patch a token.
    length = config.sequence_length
    sequences_per_row = self._pairs or max(1, round(length / data.lengths.mean()))
    self.patch_capacity = min(length, int(data.patches.max()) * sequences_per_row)

  @property
  def available_tokens(self) -> int:
    """Tokens of all documents that rows are drawn from: an epoch."""
    return int(self._data.lengths[self._sequences].sum())

  def row(self, random: np.random.Generator, component: int) -> dict[str, np.ndarray]:
    """Draws a row.

    Args:
      random: Generator of the row.
      component: Index of the task in the mixture.
    """
    pieces = [self._draw_pairs(random)] if self._pairs else self._draw_packed(random)

    builder = RowBuilder(self._config.sequence_length, component)
    for segment, piece in enumerate(pieces, 1):
      targets = piece.kinds == Kind.TEXT
      if not self._config.question_targets:
        targets &= ~piece.given

      # Documents have no timesteps, and so no local positions.
      builder.append(
        segments=segment,
        tokens=piece.tokens,
        labels=piece.tokens,
        kinds=piece.kinds,
        local_positions=np.full(len(piece.tokens), -1),
        targets=targets,
      )

    builder.set_patches(
      np.concatenate([piece.patches for piece in pieces]),
      positions=np.concatenate([piece.positions for piece in pieces]),
    )
    return builder.finish()

  def _draw_pairs(self, random: np.random.Generator) -> document_layout.DocumentTokens:
    """Draws `pairs` sequences as one, cut at random where they are too long.

    See Reed et al. 2022, section 3.2: five pairs, padded or cropped.
    """
    indices = random.integers(len(self._sequences), size=self._pairs)
    sequences = []
    for sequence in self._sequences[indices].tolist():
      sequences.append(self._data.window(sequence, 0, stop=int(self._data.lengths[sequence])))
    joined = document_layout.join(sequences)

    length = self._config.sequence_length
    excess = len(joined.tokens) - length
    if excess <= 0:
      return joined

    start = int(random.integers(excess + 1))
    return document_layout.cut(joined, start, length=length)

  def _draw_packed(self, random: np.random.Generator) -> list[document_layout.DocumentTokens]:
    """Draws pieces until the row is full, or its patches are."""
    room = self._config.sequence_length
    patch_room = self.patch_capacity

    # A single token could not be predicted from anything, so one free token is no room.
    pieces = []
    while room > 1:
      sequence = int(self._sequences[random.integers(len(self._sequences))])
      length = int(self._data.lengths[sequence])
      start, stop = 0, length
      if length > room:
        start, stop = draws.draw_window(random, room, length=length)
      piece = self._data.window(sequence, start, stop=stop)

      # Tokens up to the first patch that has no room.
      patch_counts = np.cumsum(piece.kinds == Kind.PATCH)
      count = int(np.searchsorted(patch_counts, patch_room, side="right"))
      pieces.append(document_layout.cut(piece, 0, length=count))
      room -= count
      patch_room -= len(pieces[-1].patches)

      if count < len(piece.tokens):
        break

    return pieces
