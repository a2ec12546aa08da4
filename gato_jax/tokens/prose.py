"""How documents become tokens: texts and picture patches one after the other, and an end (GATO_SPEC section 1).

Texts are encoded one by one: what is given and what follows split alike in training and when something is asked.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gato_jax.documents import Part
from gato_jax.tokens import codec, patches, vocabulary
from gato_jax.tokens.vocabulary import Kind


@dataclasses.dataclass(frozen=True, eq=False)
class Prose:
  """tokens, kinds int32 [n]; patches uint8 [p, 16, 16, 3] and positions int32 [p, 4] of the PATCHes, in their order.

  given: bool [n], what stands before an answer, the question too.
  """

  tokens: np.ndarray
  kinds: np.ndarray
  given: np.ndarray
  patches: np.ndarray
  positions: np.ndarray


def encode(parts: Sequence[Part], text: codec.TextCodec, end: bool = True, given: int = 0) -> Prose:
  """Parts in their order, behind them the end of the document unless something is to follow; the first `given` are so.

  Raises:
    GatoError: a picture whose sides are no multiples of 16.
  """
  tokens, kinds, is_given = [np.zeros(0, np.int32)], [np.zeros(0, np.int32)], [np.zeros(0, bool)]
  pixels, positions = [np.zeros([0, 16, 16, 3], np.uint8)], [np.zeros([0, 4], np.int32)]
  for number, part in enumerate(parts):
    if isinstance(part, str):
      ids, kind = text.encode(part), Kind.TEXT
    else:
      patches.check_shape(part.shape, "picture")
      pixels.append(patches.to_patches(part[None])[0])
      positions.append(patches.positions(*part.shape[:2]))
      ids, kind = np.full(len(pixels[-1]), vocabulary.PADDING_ID, np.int32), Kind.PATCH
    tokens.append(ids)
    kinds.append(np.full(len(ids), kind, np.int32))
    is_given.append(np.full(len(ids), number < given))
  if end:
    tokens.append(np.array([text.end], np.int32))
    kinds.append(np.array([Kind.TEXT], np.int32))
    is_given.append(np.zeros(1, bool))
  return Prose(*map(np.concatenate, (tokens, kinds, is_given, pixels, positions)))


def join(pieces: Sequence[Prose]) -> Prose:
  """One after the other."""
  return Prose(*(np.concatenate([getattr(p, field.name) for p in pieces]) for field in dataclasses.fields(Prose)))


def cut(whole: Prose, start: int, length: int) -> Prose:
  """Tokens [start, start + length) and the patches among them."""
  place = slice(start, start + length)
  is_patch = whole.kinds == Kind.PATCH
  begin = int(is_patch[:start].sum())
  shown = slice(begin, begin + int(is_patch[place].sum()))
  return Prose(
    whole.tokens[place], whole.kinds[place], whole.given[place], whole.patches[shown], whole.positions[shown]
  )
