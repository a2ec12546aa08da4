"""Texts and images instead of timesteps: the network that acts reads and writes documents too.

Its parameters, embedding and KV cache are the same. As in training (tokens/document_layout.py),
a document has no local positions, a patch has its row and column, and a text is encoded by itself.

Legend of shapes: L positions of a chunk, D width.
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
from gato_jax.model import GatoConfig, cache
from gato_jax.tokens import codec, document_layout, vocabulary
from gato_jax.tokens.vocabulary import Kind

# Positions read by one call; a document is padded to complete chunks.
CHUNK = 128

# A character has at most four bytes, so at most three of them wait for the last one.
_UNFINISHED = 3


@flax.struct.dataclass
class GenerationState:
  """State of one sequence between calls.

  Attributes:
    kv_cache: KV cache of one slot, with everything that was read.
    hidden: [1, D], hidden state of the newest position, which predicts the next token.
  """

  kv_cache: cache.KVCache
  hidden: jax.Array


class TextGenerator:
  """Reads and writes one sequence after the other.

  A sequence may have any length; what is older than the KV cache is forgotten.

  Attributes:
    text: Codec of what is read and written.
  """

  def __init__(
    self, config: GatoConfig, params: cache.ActingParams, text: codec.TextCodec, chunk: int = CHUNK
  ):
    """Prepares an empty KV cache.

    Args:
      config: Sizes of the network.
      params: Its parameters.
      text: Codec of what is read and written.
      chunk: Positions read by one call.
    """
    self.text = text
    self._config, self._params = config, params

    # One call cannot write more positions than the KV cache has entries.
    self._chunk = min(chunk, config.memory_length)
    self._state = GenerationState(
      kv_cache=cache.init_cache(config, slots=1),
      hidden=jnp.zeros((1, config.width), config.dtype),
    )

    self._writable = jax.device_put(text.writable[: config.text_pieces])
    # A caption must not begin with the first token of a question.
    first_of_question = int(text.encode(ask(""))[0])
    self._starts_caption = self._writable.at[first_of_question].set(False)

    self.forget()

  def forget(self) -> None:
    """Begins a new sequence."""
    self._is_fresh = True
    # Ids that were written and not read yet.
    self._pending: list[int] = []

  def read(self, parts: Sequence[Part]) -> None:
    """Reads parts of a document; the sequence may go on behind them.

    Raises:
      GatoError: The sides of an image are no multiples of 16.
    """
    document = document_layout.encode(parts, self.text, end=False)
    self._read_document(document, scored=False)

  def score(self, parts: Sequence[Part], end: bool = True) -> np.ndarray:
    """Reads parts of a document and returns the log-probabilities of its text tokens.

    They are those of training, over all rows of the token table. The first token of a sequence,
    which nothing predicts, counts as one of equally likely text pieces.

    Args:
      parts: Parts to read.
      end: True appends the end of the document, which is scored too.

    Returns:
      Float64 [text tokens], in nats.
    """
    document = document_layout.encode(parts, self.text, end)
    return self._read_document(document, scored=True)

  def write(
    self, max_tokens: int, temperature: float, seed: int, caption: bool = False
  ) -> Iterator[int]:
    """Yields text ids up to the document's end, drawn one after the other.

    Args:
      max_tokens: Largest number of ids.
      temperature: Temperature of sampling; 0 takes the most likely id.
      seed: Seed of the draws.
      caption: True excludes the beginning of a question (documents.ask): in training both captions
        and questions follow images.

    Raises:
      GatoError: Nothing has been read yet.
    """
    if self._is_fresh:
      raise GatoError("nothing has been read, so nothing can follow; give a text or a picture")

    key = jax.random.key(seed)
    for index in range(max_tokens):
      self._read_pending()

      draw = jax.random.fold_in(key, index)
      allowed = self._starts_caption if caption and index == 0 else self._writable
      token = int(_choose(self._params, self._state.hidden, allowed, np.float32(temperature), draw))

      # Read when something follows: the last id of a text may never need it.
      self._pending = [token]
      if token == self.text.end:
        return
      yield token

  def end(self) -> None:
    """Ends the document that was written, unless it has ended; what is read next is another one."""
    if self._pending != [self.text.end]:
      self._pending.append(self.text.end)

  def _read_document(self, document: document_layout.DocumentTokens, scored: bool) -> np.ndarray:
    """Reads what was written last, then a document; returns as `_read_tokens`."""
    self._read_pending()
    return self._read_tokens(document, self._chunk, scored)

  def _read_pending(self) -> None:
    """Reads what was written last, token by token, so that writing needs one compiled call only."""
    tokens = np.array(self._pending, np.int32)
    self._pending = []

    no_parts = document_layout.encode((), self.text, end=False)
    document = dataclasses.replace(
      no_parts,
      tokens=tokens,
      kinds=np.full(len(tokens), Kind.TEXT, np.int32),
      given=np.ones(len(tokens), bool),
    )
    self._read_tokens(document, 1, scored=False)

  def _read_tokens(
    self, document: document_layout.DocumentTokens, size: int, scored: bool
  ) -> np.ndarray:
    """Reads a document in chunks.

    Args:
      document: Tokens to read.
      size: Positions of a chunk.
      scored: True when log-probabilities are wanted.

    Returns:
      Log-probabilities of the text tokens, float64; empty unless `scored`.
    """
    scores = [np.zeros(0)]
    patches_read = 0

    for start in range(0, len(document.tokens), size):
      kinds = document.kinds[start : start + size]
      is_patch = kinds == Kind.PATCH
      patches = slice(patches_read, patches_read + int(is_patch.sum()))
      patches_read = patches.stop

      chunk = _pad_chunk(document, slice(start, start + size), patches=patches, size=size)
      self._state, log_probs = _read_chunk(
        self._config, scored, self._params, self._state, self._is_fresh, chunk
      )
      self._is_fresh = False

      if log_probs is not None:
        # Without the padding at the end and without patches.
        of_tokens = np.asarray(log_probs, np.float64)[: len(kinds)]
        scores.append(of_tokens[kinds == Kind.TEXT])

    return np.concatenate(scores)


def stream(text: codec.TextCodec, ids: Iterable[int]) -> Iterator[str]:
  """Yields the text of ids as they come, in complete characters.

  Bytes of an unfinished character wait for the others.
  """
  seen: list[int] = []
  written = 0

  for token in ids:
    seen.append(token)
    decoded = text.decode(seen)

    # The codec shows each byte of an unfinished character as U+FFFD.
    tail = decoded[-_UNFINISHED:]
    unfinished = len(tail) - len(tail.rstrip("\ufffd"))
    finished = len(decoded) - unfinished
    if finished > written:
      yield decoded[written:finished]
      written = finished

  # What is still unfinished at the end stays so, and is shown as it is.
  rest = text.decode(seen)[written:]
  if rest:
    yield rest


def _pad_chunk(
  document: document_layout.DocumentTokens, tokens: slice, patches: slice, size: int
) -> dict[str, np.ndarray]:
  """Returns a piece of a document as a padded batch of one row.

  Args:
    document: Document to cut from.
    tokens: Its tokens of this chunk.
    patches: Its patches of this chunk.
    size: Positions of the chunk.
  """
  token_ids, kinds = document.tokens[tokens], document.kinds[tokens]
  length = len(token_ids)
  patch_count = patches.stop - patches.start

  # No room for patches where a chunk has none, so that texts never run the patch embedder.
  room = size if patch_count else 0
  side = vocabulary.PATCH_SIDE

  chunk: dict[str, np.ndarray] = {
    "tokens": np.zeros([1, size], np.int32),
    "kinds": np.zeros([1, size], np.int32),
    "locals": np.full([1, size], -1, np.int32),
    "patch_slots": np.zeros([1, size], np.int32),
    "patches": np.zeros([1, room, side, side, 3], np.uint8),
    "patch_positions": np.zeros([1, room, 4], np.int32),
  }
  chunk["tokens"][0, :length] = token_ids
  chunk["kinds"][0, :length] = kinds
  chunk["patch_slots"][0, :length][kinds == Kind.PATCH] = np.arange(patch_count)
  chunk["patches"][0, :patch_count] = document.patches[patches]
  chunk["patch_positions"][0, :patch_count] = document.positions[patches]

  return chunk


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def _read_chunk(
  config: GatoConfig,
  scored: bool,
  params: cache.ActingParams,
  state: GenerationState,
  fresh: jax.Array,
  chunk: Mapping[str, jax.Array],
) -> tuple[GenerationState, jax.Array | None]:
  """Reads a chunk of one row behind all that was read before it.

  Args:
    config: Sizes of the network.
    scored: True when log-probabilities are wanted.
    params: Parameters of the network.
    state: State before the chunk; donated.
    fresh: Bool [], True where the chunk begins a sequence.
    chunk: Chunk of `_pad_chunk`.

  Returns:
    The new state, and where `scored` the log-probability of each position's token, float32 [L];
    arbitrary at a patch. None where not.
  """
  kinds = chunk["kinds"]
  length = kinds.shape[1]
  written_1xL = kinds != Kind.PADDING

  row_cache = cache.view(state.kv_cache, None, jnp.reshape(fresh, 1))
  hidden_1xLxD, step_cache = cache.read(
    config,
    params,
    kv_cache=row_cache,
    step_cache=cache.begin(config, rows=1, positions=length),
    x=cache.embed(config, params, chunk),
    start=0,
    offset=jnp.arange(length)[None],
    written=written_1xL,
    valid=written_1xL,
  )
  kv_cache = cache.commit(
    state.kv_cache, jnp.zeros(1, jnp.int32), row_cache=row_cache, step_cache=step_cache
  )

  # Padding follows the written positions, so the newest is at their number less one.
  newest_hidden = hidden_1xLxD[0, written_1xL.sum() - 1][None]
  new_state = GenerationState(kv_cache, newest_hidden)
  if not scored:
    return new_state, None

  # A token is predicted by the position before it, the first one by the end of the last chunk.
  before_LxD = jnp.concatenate([state.hidden, hidden_1xLxD[0, :-1]])
  log_probs = jax.nn.log_softmax(_logits(params, before_LxD))
  rows_L = vocabulary.row_of(chunk["tokens"][0], log_probs.shape[-1])
  log_probs = log_probs[jnp.arange(length), rows_L]

  # Nothing predicts the first token of a sequence: all text pieces are equally likely.
  begins_sequence = fresh & (jnp.arange(length) == 0)
  uniform = -np.log(config.text_pieces).astype(np.float32)
  return new_state, jnp.where(begins_sequence, uniform, log_probs)


@jax.jit
def _choose(
  params: cache.ActingParams,
  hidden: jax.Array,
  writable: jax.Array,
  temperature: jax.Array,
  key: jax.Array,
) -> jax.Array:
  """Draws the next text id.

  Args:
    params: Parameters of the network.
    hidden: [1, D], hidden state of the newest position.
    writable: Bool [text pieces], ids that may be drawn.
    temperature: Float32 [], temperature of sampling; 0 takes the most likely id.
    key: Key of the draw.
  """
  # Text ids are the first of the vocabulary.
  logits = _logits(params, hidden)[0, : len(writable)]
  logits = jnp.where(writable, logits, -jnp.inf)

  # The largest logit with Gumbel noise is a sample, without noise it is the mode.
  return jnp.argmax(logits + temperature * jax.random.gumbel(key, logits.shape))


def _logits(params: cache.ActingParams, hidden: jax.Array) -> jax.Array:
  """Computes float32 logits [L, rows of the token table] of hidden states [L, D]."""
  return jnp.einsum(
    "nd,vd->nv", hidden, params.embedding["tokens"], preferred_element_type=jnp.float32
  )
