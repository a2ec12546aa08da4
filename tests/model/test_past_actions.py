"""model.past_actions="hidden": no step sees earlier actions, neither in training nor in acting."""

import dataclasses

import engine_cases
import jax
import jax.numpy as jnp
import model_cases
import numpy as np
import pytest
import small_network
from model_cases import OBSERVATION, STEP, Kind, init, make_batch

from gato_jax import model
from gato_jax.agent import ActConfig, Engine
from gato_jax.agent.prompts import Prompts
from gato_jax.errors import GatoError
from gato_jax.model import cache
from gato_jax.tokens import vocabulary

HIDDEN = dataclasses.replace(model_cases.CONFIG, past_actions="hidden")


@pytest.fixture(scope="module")
def params():
  return init(HIDDEN, jax.random.key(0))


def influence(params, batch):
  """Returns float [L read, L changed]: the gradient of a hidden state for an input vector."""
  network = model.Gato(HIDDEN)
  x = model_cases.embed(params, batch, network)
  length = x.shape[1]

  def hidden_at(x, position):
    hidden = network.apply({"params": params}, x, batch, method="decode")
    return jnp.square(hidden[0, position]).sum()

  gradient = jax.vmap(lambda position: jnp.abs(jax.grad(hidden_at)(x, position)[0]).sum(-1))
  return np.asarray(jax.jit(gradient)(jnp.arange(length)))


@pytest.mark.parametrize("prompt_steps", [0, 2])
def test_only_the_actions_of_earlier_steps_are_hidden(params, prompt_steps):
  """Gradients go through both layers, so no hidden state carries an action further either."""
  batch = make_batch()
  batch["prompts"] = np.tile(np.arange(batch["kinds"].shape[1]) < prompt_steps * len(STEP), (2, 1))

  sees = influence(params, batch) > 0
  kinds, prompt = batch["kinds"][0], batch["prompts"][0]
  step = np.arange(len(kinds)) // len(STEP)

  real = kinds != Kind.PADDING
  expected = np.tril(np.ones_like(sees)) & real & real[:, None]
  is_past = step[:, None] > step[None]
  expected &= ~(is_past & (kinds == Kind.ACTION) & ~prompt)

  np.testing.assert_array_equal(
    sees & ~np.eye(len(kinds), dtype=bool), expected & ~np.eye(len(kinds), dtype=bool)
  )


def test_the_default_is_the_papers(params):
  batch = make_batch()
  batch["prompts"] = np.zeros(batch["kinds"].shape, bool)
  other = batch | {"tokens": batch["tokens"].copy()}
  last_action = OBSERVATION + 1
  other["tokens"][:, last_action] = (batch["tokens"][:, last_action] + 7) % vocabulary.SIZE

  def later(config, batch):
    hidden = model_cases.forward(params, batch, model.Gato(config))
    return np.asarray(hidden[:, len(STEP) :])

  np.testing.assert_array_equal(later(HIDDEN, batch), later(HIDDEN, other))
  assert np.abs(later(model_cases.CONFIG, batch) - later(model_cases.CONFIG, other)).max() > 1e-3


@pytest.mark.parametrize("prompt_steps", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_acting_computes_what_training_does(prompt_steps):
  """Greedy actions behind a prompt are the most likely ones of the full forward pass."""
  config = dataclasses.replace(engine_cases.CONFIG, past_actions="hidden", memory_length=256)
  params = small_network.random_params()
  task = "a.arm"
  layout = engine_cases.LAYOUTS[task]
  random = np.random.default_rng(0)

  # An episode that is shown as the prompt.
  spec = engine_cases.SPECS[task]
  shown = [engine_cases.observe(task, 9, number) for number in range(prompt_steps)]
  columns = {key: np.stack([o[key] for o in shown]) for key in spec.observation} if shown else {}
  actions = random.uniform(spec.action.minimum, spec.action.maximum, (prompt_steps, 3))
  episodes = [(columns, actions.astype(np.float32))] if shown else []

  act = ActConfig(temperature=0.0, prompt="start" if shown else "none")
  prompts = {task: Prompts(layout, episodes, room=128, config=act)}
  engine = Engine(
    config, cache.acting_params(config, params), {task: layout}, prompts, slots=2, act=act
  )
  engine.start(0, task, 0)
  observations, acted = [], []
  for number in range(5):
    observations.append(engine_cases.observe(task, 0, number))
    acted.append(engine.act({0: engine.pack(task, observations[-1])})[0])

  # The whole episode as one row of a batch.
  both = {key: np.stack([o[key] for o in shown + observations]) for key in spec.observation}
  steps = layout.encode(both, np.concatenate([actions.astype(np.float32), np.stack(acted)]))
  kinds = steps.kinds.reshape(1, -1)
  batch = {
    "tokens": steps.tokens.reshape(1, -1),
    "kinds": kinds,
    "locals": steps.locals.reshape(1, -1),
    "segments": np.ones_like(kinds),
    "prompts": (np.arange(kinds.size) < prompt_steps * layout.length)[None],
    "patches": np.zeros((1, 0, 16, 16, 3), np.uint8),
    "patch_positions": np.zeros((1, 0, 4), np.int32),
    "patch_slots": np.zeros_like(kinds),
  }
  hidden = model_cases.forward(params, batch, model.Gato(config))
  logits = np.asarray(hidden[0] @ params["embedding"]["tokens"].T)

  low, high = layout.legal_actions()
  tokens = steps.tokens[:, layout.action.slice]

  for step in range(prompt_steps, len(tokens)):
    for i, token in enumerate(tokens[step]):
      before = step * layout.length + layout.action.slice.start + i - 1
      legal = slice(low[i], high[i] + 1)
      assert token == low[i] + np.argmax(logits[before, legal]), (step, i)


def test_a_wrong_value_names_the_setting():
  with pytest.raises(GatoError, match="past_actions"):
    dataclasses.replace(HIDDEN, past_actions="hiden")
