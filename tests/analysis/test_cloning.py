"""A clone along its expert's episodes: places, losses and copies of single tokens."""

import dataclasses

import jax
import numpy as np
import pytest
import small_network

from experiments.analysis.cloning import measure as cloning
from experiments.analysis.cloning import rows as cloning_rows
from gato_jax.data import mixture, pipeline
from gato_jax.model import Gato
from gato_jax.tokens import codec
from gato_jax.tokens.vocabulary import Kind

TEXT = codec.default_text_codec()
TASK = "dummy.reach_discrete"
MIXTURE = mixture.MixtureConfig(
  name="cloned", sequence_length=128, window_steps=3, prompt_probability=0.0
)


@pytest.fixture(scope="module")
def params():
  return small_network.random_params()


def test_losses_are_those_of_the_network(params, dummy_tfds):
  inputs = pipeline.Input(
    dataclasses.replace(MIXTURE, weights={TASK: 1.0}), dummy_tfds, 2, TEXT, 512
  )
  batch = next(inputs.batches())
  losses, predicted = cloning._predict(small_network.SMALL, params, batch)

  hidden = jax.jit(Gato(small_network.SMALL).apply)({"params": params}, batch)

  for row, position in np.argwhere(batch["targets"])[:20]:
    logits = np.asarray(params["embedding"]["tokens"] @ hidden[row, position - 1])
    expected = jax.nn.logsumexp(logits) - logits[batch["labels"][row, position]]
    assert losses[row, position] == pytest.approx(float(expected), abs=1e-3)
    assert predicted[row, position] == np.argmax(logits)


@pytest.mark.parametrize("prompts", [0.0, 1.0])
def test_places_and_copies(dummy_tfds, prompts):
  changed = dataclasses.replace(
    MIXTURE, weights={TASK: 1.0}, window_steps=4, prompt_probability=prompts
  )
  inputs = pipeline.Input(changed, dummy_tfds, 8, TEXT, 512)
  length = inputs.windows[TASK].layout.length
  batch = next(inputs.batches())

  # A network that always predicts the token of the step before.
  copies = np.roll(batch["tokens"], length, axis=1)
  token = cloning._tokens(batch, np.zeros(copies.shape), copies, length=length)
  later = token["place"] > 0

  assert token["copied"][later].all()
  assert 0 < token["repeated"][later].mean() < 1

  # Places count the steps of a sample, without those of its prompt.
  is_action = (batch["kinds"] == Kind.ACTION) & ~batch["prompts"]

  assert len(token["place"]) == is_action.sum()

  expected = []

  for row, position in np.argwhere(is_action):
    segment = batch["segments"][row]
    separators = (batch["kinds"][row] == Kind.SEPARATOR) & (segment == segment[position])
    separators &= ~batch["prompts"][row]
    expected.append(int(separators[:position].sum()) - 1)

  np.testing.assert_array_equal(token["place"], expected)
  assert max(expected) == (1 if prompts else 3)


def test_a_row_a_place_and_a_line_a_task(params, dummy_tfds):
  rows = cloning.measure(
    params,
    small_network.SMALL,
    MIXTURE,
    TASK,
    tfds_dir=dummy_tfds,
    text=TEXT,
    step=5,
    batches=2,
    rows=4,
  )

  assert [row.place for row in rows] == [0, 1, 2]
  assert rows[0].copied is None and 0 <= rows[1].repeated <= 1
  assert {row.split for row in rows} == {"train"}

  (line,) = cloning_rows.by_task(rows)

  assert line["places"] == 3 and line["loss, first step"] == rows[0].loss
