"""Reading and writing prose: the training network's probabilities, streams of whole characters, and the verb."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_network

from gato_jax import documents
from gato_jax.agent import reader
from gato_jax.model import Gato, acting, init_params
from gato_jax.tokens import codec, prose, vocabulary
from gato_jax.tokens.vocabulary import Kind

CONFIG = small_network.SMALL
TEXT = codec.default_text_codec()
PATCHES = ("patches", "patch_positions")
WORDS = "Once there was a key behind a door, and nobody knew which of the two was older.\n"


@pytest.fixture(scope="module")
def params():
  params = jax.jit(lambda: init_params(CONFIG, jax.random.key(3)))()
  return jax.tree.map(lambda x: 2 * x, params)  # far from uniform


@pytest.fixture(scope="module")
def acting_params(params):
  return acting.acting_params(CONFIG, params)


def make_reader(acting_params, chunk: int = 16) -> reader.Reader:
  return reader.Reader(CONFIG, acting_params, TEXT, chunk)


def picture(seed: int, height: int = 48, width: int = 64) -> np.ndarray:
  return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


DOCUMENTS = {
  "text": (WORDS * 4,),
  "caption": (picture(0), "a red ball left of a blue box"),
  "question": (picture(1), documents.ask("what colour is the ball?"), " red"),
  "page": ("First\n", picture(2), WORDS, picture(3, 16, 32), picture(4, 32, 16), WORDS * 3),
}


@jax.jit
def forward(params, batch, targets):
  """Log-probabilities of `targets` [B, L] at their positions, by the training network over whole windows."""
  hidden = Gato(CONFIG).apply({"params": params}, batch)
  logits = Gato(CONFIG).apply({"params": params}, hidden, method="logits")
  return jnp.take_along_axis(jax.nn.log_softmax(logits), targets[..., None], axis=-1)[..., 0]


def trained(params, parts) -> np.ndarray:
  """Log-probabilities of a document's text tokens where it alone is a window of training; NaN for the first token."""
  document, length = prose.encode(parts, TEXT), 180
  n, is_patch = len(document.tokens), document.kinds == Kind.PATCH
  batch = reader._chunk(document, slice(0, n), slice(0, len(document.patches)), length)
  batch["segments"] = (np.arange(length) < n).astype(np.int32)[None]
  if not batch["patches"].shape[1]:
    batch |= {name: np.zeros((1, length, *batch[name].shape[2:]), batch[name].dtype) for name in PATCHES}
  scores = forward(params, batch, np.roll(batch["tokens"], -1, axis=1))
  return np.concatenate([[np.nan], scores[0, : n - 1]])[~is_patch]


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("chunk", [180, 16])
def test_log_probabilities_are_those_of_the_training_network(params, acting_params, name, chunk):
  """However the document is cut into chunks, and whatever was read before it."""
  one = make_reader(acting_params, chunk)
  one.read(["something else", picture(9)])
  one.forget()
  scores, expected = one.score(DOCUMENTS[name]), trained(params, DOCUMENTS[name])
  np.testing.assert_allclose(scores[1:], expected[1:], atol=1e-4)
  assert expected[1:].std() > 0.5
  if name in ("text", "page"):  # nothing stands before its first token
    assert scores[0] == pytest.approx(-np.log(vocabulary.TEXT_SIZE))
  else:
    assert scores[0] == pytest.approx(expected[0], abs=1e-4)


def test_a_document_read_in_parts_is_the_same_document(params, acting_params):
  one, parts = make_reader(acting_params), DOCUMENTS["question"]
  one.read(parts[:1])
  one.read(parts[1:2])
  answer = one.score(parts[2:])
  np.testing.assert_allclose(answer, trained(params, parts)[-len(answer) :], atol=1e-4)
  assert len(answer) == len(TEXT.encode(" red")) + 1  # and its end
