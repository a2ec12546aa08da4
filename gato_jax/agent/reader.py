"""Texts and pictures instead of steps: what control acts with, the same parameters, embedding and memory, reads and
writes prose.

A document has no local positions, a patch has its row and column, a text is encoded by itself: as in training
(tokens/prose.py). Legend: C positions of a chunk, d width.
"""

import dataclasses
import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.documents import Part, ask
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, acting
from gato_jax.tokens import codec, prose, vocabulary
from gato_jax.tokens.vocabulary import Kind

CHUNK = 128  # positions read by one call; a document is padded to whole chunks
_UNFINISHED = 3  # a character is at most four bytes, so at most three wait for the last one


@flax.struct.dataclass
class State:
  """memory: of one row, of everything read. hidden: [1, d], of the newest position: it predicts the next token."""

  memory: acting.Memory
  hidden: jax.Array


class Reader:
  """Reads and writes one sequence after the other, of any length; what is older than the memory is forgotten.

  Attributes:
    text: the codec of what is read and written.
  """

  def __init__(self, config: GatoConfig, params: acting.ActingParams, text: codec.TextCodec, chunk: int = CHUNK):
    self.text = text
    self._config, self._params = config, params
    self._chunk = min(chunk, config.memory_length)  # of one call the memory takes no more
    self._state = State(acting.init_memory(config, 1), jnp.zeros((1, config.width), config.dtype))
    self._writable = jax.device_put(text.writable)
    self._starts_caption = self._writable.at[int(text.encode(ask(""))[0])].set(False)
    self.forget()

  def forget(self) -> None:
    """A new sequence begins."""
    self._is_fresh = True
    self._pending: list[int] = []  # written and not yet read

  def read(self, parts: Sequence[Part]) -> None:
    """Reads on; the sequence may go on behind it.

    Raises:
      GatoError: a picture whose sides are no multiples of 16.
    """
    self._take(prose.encode(parts, self.text, end=False), scored=False)

  def score(self, parts: Sequence[Part], end: bool = True) -> np.ndarray:
    """As `read`, with the end of the document behind it; log-probabilities (nats) of its text tokens, float64 [n].

    They are those of training, over all 33,025 ids. The first token of a sequence, which nothing predicts, counts as
    one of 32,000 that are equally likely.
    """
    return self._take(prose.encode(parts, self.text, end), scored=True)

  def write(self, max_tokens: int, temperature: float, seed: int, caption: bool = False) -> Iterator[int]:
    """Text ids, each drawn from what has been read and written before it, until the document's end or `max_tokens`.

    Args:
      temperature: of sampling; 0 takes the most likely id. seed: of the draws.
      caption: not what begins as a question does (documents.ask): in training both follow pictures.

    Raises:
      GatoError: nothing has been read yet.
    """
    if self._is_fresh:
      raise GatoError("nothing has been read, so nothing can follow; give a text or a picture")
    key = jax.random.key(seed)
    for index in range(max_tokens):
      self._read_pending()
      draw = jax.random.fold_in(key, index)
      allowed = self._starts_caption if caption and index == 0 else self._writable
      token = int(_choose(self._params, self._state.hidden, allowed, np.float32(temperature), draw))
      self._pending = [token]
      if token == self.text.end:
        return
      yield token

  def end(self) -> None:
    """What is written ends here, where it has not; what is read next is another document, behind it."""
    if self._pending != [self.text.end]:
      self._pending.append(self.text.end)

  def _take(self, document: prose.Prose, scored: bool) -> np.ndarray:
    self._read_pending()
    return self._read_tokens(document, self._chunk, scored)

  def _read_pending(self) -> None:
    """What was written last: alone, so that writing needs no other compiled call."""
    tokens, self._pending = np.array(self._pending, np.int32), []
    nothing = prose.encode((), self.text, end=False)
    kinds = np.full(len(tokens), Kind.TEXT, np.int32)
    words = dataclasses.replace(nothing, tokens=tokens, kinds=kinds, given=np.ones(len(tokens), bool))
    self._read_tokens(words, 1, scored=False)

  def _read_tokens(self, document: prose.Prose, size: int, scored: bool) -> np.ndarray:
    scores, shown = [np.zeros(0)], 0
    for start in range(0, len(document.tokens), size):
      kinds = document.kinds[start : start + size]
      patches = slice(shown, shown + int((kinds == Kind.PATCH).sum()))
      shown = patches.stop
      chunk = _chunk(document, slice(start, start + size), patches, size)
      self._state, log_probs = _read(self._config, scored, self._params, self._state, self._is_fresh, chunk)
      self._is_fresh = False
      if scored:
        scores.append(np.asarray(log_probs, np.float64)[: len(kinds)][kinds == Kind.TEXT])
    return np.concatenate(scores)


def stream(text: codec.TextCodec, ids: Iterable[int]) -> Iterator[str]:
  """The text of ids as they come, whole characters only: bytes of an unfinished one wait for the others."""
  taken, written = [], 0
  for one in ids:
    taken.append(one)
    decoded = text.decode(taken)
    waiting = len(decoded[-_UNFINISHED:]) - len(decoded[-_UNFINISHED:].rstrip("\ufffd"))
    if len(decoded) - waiting > written:
      yield decoded[written : len(decoded) - waiting]
      written = len(decoded) - waiting
  rest = text.decode(taken)[written:]
  if rest:
    yield rest


def _chunk(document: prose.Prose, at: slice, patches: slice, size: int) -> dict[str, np.ndarray]:
  """A piece of a document as a padded batch of one row; room for patches only where it has any."""
  tokens, kinds = document.tokens[at], document.kinds[at]
  n, shown = len(tokens), patches.stop - patches.start
  room = size if shown else 0
  chunk = {name: np.zeros([1, size], np.int32) for name in ("tokens", "kinds", "patch_slots")}
  chunk["locals"] = np.full([1, size], -1, np.int32)
  chunk["patches"] = np.zeros([1, room, vocabulary.PATCH_SIDE, vocabulary.PATCH_SIDE, 3], np.uint8)
  chunk["patch_positions"] = np.zeros([1, room, 4], np.int32)
  chunk["tokens"][0, :n], chunk["kinds"][0, :n] = tokens, kinds
  chunk["patches"][0, :shown], chunk["patch_positions"][0, :shown] = (
    document.patches[patches],
    document.positions[patches],
  )
  chunk["patch_slots"][0, :n][kinds == Kind.PATCH] = np.arange(shown)
  return chunk


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def _read(
  config: GatoConfig,
  scored: bool,
  params: acting.ActingParams,
  state: State,
  fresh: jax.Array,
  chunk: Mapping[str, jax.Array],
) -> tuple[State, jax.Array | None]:
  """Reads a chunk of one row behind everything before it, or, where fresh, behind nothing.

  Returns:
    The new state, and where `scored` the log-probability of each position's token, float32 [C]; any at a patch.
  """
  kinds = chunk["kinds"]
  length = kinds.shape[1]
  past = acting.view(state.memory, None, jnp.reshape(fresh, 1))
  present = acting.begin(config, 1, length)
  written = kinds != Kind.PADDING
  x = acting.embed(config, params, chunk)
  hidden, present = acting.read(config, params, past, present, x, 0, jnp.arange(length)[None], written, written)
  memory = acting.commit(state.memory, jnp.zeros(1, jnp.int32), past, present)
  newest = State(memory, hidden[0, written.sum() - 1][None])
  if not scored:
    return newest, None
  before = jnp.concatenate([state.hidden, hidden[0, :-1]])
  log_probs = jax.nn.log_softmax(_logits(params, before))[jnp.arange(length), chunk["tokens"][0]]
  first = fresh & (jnp.arange(length) == 0)
  return newest, jnp.where(first, -np.log(vocabulary.TEXT_SIZE).astype(np.float32), log_probs)


@jax.jit
def _choose(
  params: acting.ActingParams, hidden: jax.Array, writable: jax.Array, temperature: jax.Array, key: jax.Array
) -> jax.Array:
  """The next text id after `hidden` [1, d]. Gumbel noise: a sample; without it: the mode."""
  logits = _logits(params, hidden)[0, : vocabulary.TEXT_SIZE]
  logits = jnp.where(writable, logits, -jnp.inf)
  return jnp.argmax(logits + temperature * jax.random.gumbel(key, logits.shape))


def _logits(params: acting.ActingParams, hidden: jax.Array) -> jax.Array:
  """[n, d] -> float32 [n, 33,025]."""
  return jnp.einsum("nd,vd->nv", hidden, params.embedding["tokens"], preferred_element_type=jnp.float32)
