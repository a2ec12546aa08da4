"""Tokens of documents: texts and image patches one after the other, and an end (docs/paper.md).

Texts are encoded one by one, so that a question and its answer are split into the same pieces in
training and when the question is asked alone.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gato_jax.documents import Part
from gato_jax.tokens import codec, patches, vocabulary
from gato_jax.tokens.vocabulary import Kind


@dataclasses.dataclass(frozen=True, eq=False)
class DocumentTokens:
  """An encoded document, or a piece of one: n tokens, p of them patches.

  Attributes:
    tokens: int32 [n], vocabulary ids.
    kinds: int32 [n], a Kind each.
    given: bool [n], True for tokens that precede an answer, the question's included.
    patches: uint8 [p, 16, 16, 3], pixels of the PATCH tokens, in their order.
    positions: int32 [p, 4], positions of these patches in their images.
  """

  tokens: np.ndarray
  kinds: np.ndarray
  given: np.ndarray
  patches: np.ndarray
  positions: np.ndarray


def encode(
  parts: Sequence[Part], text: codec.TextCodec, end: bool = True, given: int = 0
) -> DocumentTokens:
  """Encodes the parts of a document in their order.

  Args:
    parts: Texts, and images uint8 [H, W, 1 or 3].
    text: The tokenizer.
    end: Appends the end of the document. False where a continuation is to be generated.
    given: Number of parts that precede the answer.

  Raises:
    GatoError: The sides of an image are no multiples of 16.
  """
  # Empty arrays give the concatenations their dtypes where there are no tokens or no patches.
  tokens = [np.zeros(0, np.int32)]
  kinds = [np.zeros(0, np.int32)]
  is_given = [np.zeros(0, bool)]
  pixels = [np.zeros([0, 16, 16, 3], np.uint8)]
  positions = [np.zeros([0, 4], np.int32)]

  for index, part in enumerate(parts):
    if isinstance(part, str):
      ids = text.encode(part)
      kind = Kind.TEXT
    else:
      patches.check_shape(part.shape, "picture")
      pixels.append(patches.to_patches(part[None])[0])
      positions.append(patches.positions(*part.shape[:2]))

      # Patches have no id; the kind says that the padding id is none.
      ids = np.full(len(pixels[-1]), vocabulary.PADDING_ID, np.int32)
      kind = Kind.PATCH

    tokens.append(ids)
    kinds.append(np.full(len(ids), kind, np.int32))
    is_given.append(np.full(len(ids), index < given))

  if end:
    tokens.append(np.array([text.end], np.int32))
    kinds.append(np.array([Kind.TEXT], np.int32))
    is_given.append(np.zeros(1, bool))

  return DocumentTokens(
    tokens=np.concatenate(tokens),
    kinds=np.concatenate(kinds),
    given=np.concatenate(is_given),
    patches=np.concatenate(pixels),
    positions=np.concatenate(positions),
  )


def join(pieces: Sequence[DocumentTokens]) -> DocumentTokens:
  """Concatenates pieces."""
  return DocumentTokens(
    tokens=np.concatenate([piece.tokens for piece in pieces]),
    kinds=np.concatenate([piece.kinds for piece in pieces]),
    given=np.concatenate([piece.given for piece in pieces]),
    patches=np.concatenate([piece.patches for piece in pieces]),
    positions=np.concatenate([piece.positions for piece in pieces]),
  )


def cut(document: DocumentTokens, start: int, length: int) -> DocumentTokens:
  """Returns tokens [start, start + length) and the patches among them."""
  window = slice(start, start + length)
  is_patch = document.kinds == Kind.PATCH

  # Patches are stored in the order of their tokens: those before the window are skipped.
  first_patch = int(is_patch[:start].sum())
  patch_count = int(is_patch[window].sum())
  patch_window = slice(first_patch, first_patch + patch_count)

  return DocumentTokens(
    tokens=document.tokens[window],
    kinds=document.kinds[window],
    given=document.given[window],
    patches=document.patches[patch_window],
    positions=document.positions[patch_window],
  )
