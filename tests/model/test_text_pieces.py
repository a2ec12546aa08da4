"""A network with fewer text pieces is the full one without the rows of the others."""

import dataclasses
import functools

import engine_cases
import jax
import numpy as np
import pytest
import small_network
from model_cases import make_batch
from scipy import special

from experiments import cli
from experiments.configs import default
from gato_jax import model
from gato_jax.agent import buckets, step
from gato_jax.errors import GatoError
from gato_jax.model import cache, embedding, flops, sharding
from gato_jax.tokens import codec, vocabulary
from gato_jax.train import loss

PIECES = 2048
CONFIG = small_network.SMALL
SMALL = dataclasses.replace(CONFIG, text_pieces=PIECES)
KEPT = np.r_[:PIECES, vocabulary.CONTINUOUS_OFFSET : vocabulary.SIZE]


@pytest.fixture(scope="module")
def full():
  return small_network.random_params()


@pytest.fixture(scope="module")
def small(full):
  return full | {"embedding": full["embedding"] | {"tokens": full["embedding"]["tokens"][KEPT]}}


@pytest.fixture(scope="module")
def batch():
  drawn = make_batch(steps=4, rows=2)
  random = np.random.default_rng(1)
  ids = random.choice(KEPT, drawn["tokens"].shape).astype(np.int32)
  return drawn | {"tokens": ids, "labels": np.roll(ids, 1, axis=0), "targets": ids % 3 == 0}


def test_every_id_has_one_row_and_every_row_its_id():
  rows = vocabulary.row_of(KEPT, SMALL.table_rows)

  np.testing.assert_array_equal(rows, np.arange(SMALL.table_rows))
  np.testing.assert_array_equal(vocabulary.id_of(rows, SMALL.table_rows), KEPT)
  ids = np.arange(vocabulary.SIZE)
  np.testing.assert_array_equal(vocabulary.row_of(ids, CONFIG.table_rows), ids)


def test_hidden_states_are_those_of_the_full_network(full, small, batch):
  expected = jax.jit(model.Gato(CONFIG).apply)({"params": full}, batch)
  hidden = jax.jit(model.Gato(SMALL).apply)({"params": small}, batch)

  np.testing.assert_array_equal(hidden, expected)


def test_the_loss_is_over_the_rows_that_there_are(small, batch):
  compute = jax.jit(functools.partial(model.Gato(SMALL).apply, method="hidden_and_table"))
  hidden, table = compute({"params": small}, batch)
  batch = batch | {"components": np.array([0, 1], np.int32)}

  with jax.set_mesh(sharding.make_mesh()):
    total, metrics = jax.jit(loss.next_token_loss, static_argnums=(3, 4))(
      hidden, table, batch, 2, 16
    )

  log_probs = special.log_softmax(np.asarray(hidden[:, :-1] @ table.T, np.float64), axis=-1)
  rows = vocabulary.row_of(batch["labels"][:, 1:], SMALL.table_rows)
  losses = -np.take_along_axis(log_probs, rows[..., None], axis=-1)[..., 0]
  losses *= batch["targets"][:, 1:]

  assert float(total) == pytest.approx(losses.sum(), rel=1e-5)
  np.testing.assert_allclose(metrics["component_sums"], losses.sum(axis=1), rtol=1e-5)


def test_a_bucket_reads_the_rows_of_its_actions(full, small):
  for bucket in buckets.group(engine_cases.LAYOUTS):
    heads = [
      step.head(cache.acting_params(config, params), bucket)
      for config, params in ((CONFIG, full), (SMALL, small))
    ]
    np.testing.assert_array_equal(*heads)


def test_fresh_bins_are_waves_whatever_the_number_of_pieces():
  table = embedding.token_initializer(SMALL)(jax.random.key(0), (SMALL.table_rows, SMALL.width))
  table = np.asarray(table)
  bins = table[PIECES : PIECES + vocabulary.CONTINUOUS_BINS]

  assert len(table) == SMALL.table_rows
  # Neighbours are alike, which independent rows are not.
  assert (bins[:-1] * bins[1:]).sum(axis=1).mean() > 0.9
  assert abs((table[: PIECES - 1] * table[1:PIECES]).sum(axis=1).mean()) < 0.1


def test_model_flops_count_the_rows_that_there_are():
  sizes = {"rows": 2, "length": 36, "targets": 10, "patches": 4}
  logits = {c.text_pieces: flops.forward(c, **sizes)["logits"] for c in (CONFIG, SMALL)}

  assert logits[PIECES] / logits[32_000] == SMALL.table_rows / vocabulary.SIZE


@pytest.mark.parametrize("pieces", [1023, 32_001])
def test_a_number_of_pieces_that_cannot_be(pieces):
  with pytest.raises(GatoError, match=f"text_pieces is {pieces}; it must lie between 1024 and"):
    dataclasses.replace(CONFIG, text_pieces=pieces)


def test_a_tokenizer_with_more_pieces_than_rows_is_refused():
  config = default.get_config("tiny")
  config.model.text_pieces = PIECES

  with pytest.raises(GatoError, match=r"text_pieces=2048, but the tokenizer has 32000 pieces"):
    cli.Experiment(config).text_codec()

  config.tokenizer = "2k"
  assert cli.Experiment(config).text_codec().size == PIECES


def test_the_small_tokenizer_loses_nothing():
  text = codec.text_codec("2k")
  for string in ("put the grey key next to the purple box", "naïve 木 \u200d e\u0301", "a  b\n\tc"):
    ids = text.encode(string)
    assert text.decode(ids) == string and ids.max() < PIECES

  words = ("grey", "purple", "yellow", "ball", "box", "key", "door", "open", "next")
  assert all(len(text.encode(f"the {word}")) == 2 for word in words)
