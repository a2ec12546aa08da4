"""Documents and text generators that tests of generation share."""

import dataclasses
import functools

import jax
import numpy as np
import small_network
from scipy import special

from gato_jax import agent, documents
from gato_jax.agent import generation
from gato_jax.model import Gato
from gato_jax.tokens import codec, document_layout, vocabulary
from gato_jax.tokens.vocabulary import Kind
from gato_jax.train import checkpoint

CONFIG = small_network.SMALL


TEXT = codec.default_text_codec()


WORDS = "Once there was a key behind a door, and nobody knew which of the two was older.\n"


def make_reader(acting_params, chunk: int = 16) -> generation.TextGenerator:
  return generation.TextGenerator(CONFIG, acting_params, TEXT, chunk)


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


DOCUMENTS = {
  "text": (WORDS * 4,),
  "caption": (picture(0), "a red ball left of a blue box"),
  "question": (picture(1), documents.ask("what colour is the ball?"), " red"),
  "page": ("First\n", picture(2), WORDS, picture(3, 16, 32), picture(4, 32, 16), WORDS * 3),
}


@jax.jit
def logits(params, batch):
  """Logits [B, L, 33,025] of the training network over whole windows."""
  hidden = Gato(CONFIG).apply({"params": params}, batch)
  return Gato(CONFIG).apply({"params": params}, hidden, method="logits")


def window(document: document_layout.DocumentTokens, length: int = 180) -> dict:
  """A training batch that holds one document."""
  n, shown, is_patch = len(document.tokens), len(document.patches), document.kinds == Kind.PATCH
  batch = {
    name: np.zeros([1, length], np.int32) for name in ("tokens", "kinds", "segments", "patch_slots")
  }
  batch |= {"locals": np.full([1, length], -1), "patches": np.zeros([1, 40, 16, 16, 3], np.uint8)}
  batch["patch_positions"] = np.zeros([1, 40, 4], np.int32)
  batch["tokens"][0, :n], batch["kinds"][0, :n], batch["segments"][0, :n] = (
    document.tokens,
    document.kinds,
    1,
  )
  batch["patches"][0, :shown], batch["patch_positions"][0, :shown] = (
    document.patches,
    document.positions,
  )
  batch["patch_slots"][0, :n][is_patch] = np.arange(shown)
  return batch


def trained(params, document) -> np.ndarray:
  """Log-probabilities of a document's text tokens by the training network.

  NaN where a text token is the document's first token.
  """
  whole = (
    document
    if isinstance(document, document_layout.DocumentTokens)
    else document_layout.encode(document, TEXT)
  )
  n = len(whole.tokens)
  scores = special.log_softmax(logits(params, window(whole))[0, : n - 1], axis=-1)[
    np.arange(n - 1), whole.tokens[1:]
  ]
  return np.concatenate([[np.nan], scores])[whole.kinds == Kind.TEXT]


def words(ids: list[int]) -> document_layout.DocumentTokens:
  """A document of text tokens alone."""
  nothing = document_layout.encode((), TEXT, end=False)
  n = len(ids)
  return dataclasses.replace(
    nothing, tokens=np.int32(ids), kinds=np.full(n, Kind.TEXT), given=np.zeros(n, bool)
  )


def write(network, *given, n=12, temperature=0.0, seed=0) -> list[int]:
  network.forget()
  network.read(given)
  return list(network.write(n, temperature, seed))


def greedy(params, parts, n) -> list[int]:
  """Most likely text tokens by the training network, which reads the whole window each time."""
  document, found = (
    parts
    if isinstance(parts, document_layout.DocumentTokens)
    else document_layout.encode(parts, TEXT, end=False),
    [],
  )

  for _ in range(n):
    scores = logits(params, window(document))[0, len(document.tokens) - 1, : vocabulary.TEXT_SIZE]
    found.append(int(np.argmax(np.where(TEXT.writable, scores, -np.inf))))
    if found[-1] == TEXT.end:
      return found[:-1]
    document = document_layout.join([document, words(found[-1:])])

  return found


def save(path, params, task_specs) -> None:
  store = checkpoint.Checkpoints(path / "checkpoints")
  meta = {"model": CONFIG.to_json(), "specs": task_specs}
  store.save(5, params, {"count": np.zeros([], np.int32)}, meta, TEXT.model)
  store.close()


@functools.cache
def policy(workdir, step=None, made=agent.Policy) -> agent.Policy:
  return made(workdir, step)


def said(params, *parts, n=6) -> str:
  return TEXT.decode(greedy(params, parts, n))
