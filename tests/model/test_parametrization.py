"""muP: at the base size it is the standard parametrization, and updates do not depend on the size."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import pytest
import train_process

from benchmarks import train_step
from experiments.analysis.scaling import family
from gato_jax import model
from gato_jax.model import parametrization, sharding
from gato_jax.train import optimizer, step

WIDTHS = (64, 192)
STEPS = 4
OPTIMIZER = optimizer.OptimizerConfig(schedule="wsd", warmup_steps=1, weight_decay=0.0, clip=1e9)


def config_of(width, kind):
  network = family.network(width) | {"parametrization": kind, "patch_channels": 32}
  return dataclasses.replace(train_process.CONFIG, drop_path=0.0, **network)


@functools.cache
def change(width, kind, rate):
  """Returns the root mean square change of hidden states and of logits after some steps."""
  config = config_of(width, kind)
  batch = train_step.control_batch(4, 18)
  settings = dataclasses.replace(OPTIMIZER, peak_learning_rate=rate)
  trainer = step.Trainer(config, settings, sharding.make_mesh(1, 1, model=1), components=1)
  network = model.Gato(config)

  @jax.jit
  def outputs(params):
    hidden, table = network.apply({"params": params}, batch, method="hidden_and_table")
    return {"hidden": hidden / parametrization.output_scale(config), "logits": hidden @ table.T}

  state = trainer.init()
  before = outputs(state.params)
  for _ in range(STEPS):
    state, _ = trainer(state, trainer.put(batch), total_steps=1000)

  after = outputs(state.params)
  return {
    name: float(jnp.sqrt(jnp.mean(jnp.square(after[name] - before[name])))) for name in before
  }


def ratio(output, kind):
  """How much more the largest network changes than the smallest."""
  small, large = (change(width, kind, 1e-3)[output] for width in (WIDTHS[0], WIDTHS[-1]))
  return large / small


def test_coordinate_check():
  """Under muP some steps change the hidden states alike at every size; else they grow."""
  assert 0.85 < ratio("hidden", "mup") < 1.15
  assert ratio("hidden", "standard") > 1.5

  # Where they do not point to the same tokens, logits may change less in a wider network.
  assert 0.4 < ratio("logits", "mup") < 1.15
  assert ratio("logits", "standard") > 1.5


def test_at_the_base_size_both_are_one():
  assert family.network(parametrization.BASE_WIDTH)["layers"] == parametrization.BASE_LAYERS
  config = config_of(parametrization.BASE_WIDTH, "mup")
  standard = dataclasses.replace(config, parametrization="standard")
  factors = parametrization.update_factors(config, model.abstract_params(config))

  assert set(jax.tree.leaves(factors)) == {1.0}
  assert parametrization.output_scale(config) == parametrization.output_scale(standard) == 1
  assert parametrization.attention_scale(config) == pytest.approx(
    parametrization.attention_scale(standard)
  )


def test_factors_of_every_parameter():
  """Hand-made: width four times and depth three times the base's."""
  config = dataclasses.replace(
    config_of(512, "mup"), layers=12, heads=8, key_size=64, feed_forward=2048
  )
  factors = parametrization.update_factors(config, model.abstract_params(config))

  attention = factors["decoder"]["layers"]["attention"]
  assert attention["qkv"] == attention["distance"] == pytest.approx(1 / (4 * 3**0.5))
  assert attention["out"] == pytest.approx(1 / 12)
  assert attention["content_bias"] == pytest.approx(3**-0.5)
  assert factors["decoder"]["layers"]["feed_forward"]["out"] == pytest.approx(1 / 12)
  assert factors["decoder"]["final_norm"]["scale"] == 1

  embedding = factors["embedding"]
  assert embedding["tokens"] == embedding["row_positions"] == pytest.approx(0.5)
  assert set(jax.tree.leaves(embedding["patch_embedder"])) == {1.0}

  assert parametrization.output_scale(config) == pytest.approx(0.5)
  assert parametrization.attention_scale(config) == pytest.approx(32**0.5 / 64)


def test_weight_decay_has_no_factor():
  """A weight without a gradient shrinks by the same share at every width."""
  params = {"decoder": {"layers": {"feed_forward": {"out": jnp.ones((2, 2))}}}}
  shrunk = []
  for width in (64, 256):
    settings = optimizer.OptimizerConfig()
    transformation = optimizer.transformation(settings, config_of(width, "mup"))
    zeros = jax.tree.map(jnp.zeros_like, params)
    updates, _ = transformation.update(zeros, transformation.init(params), params)
    shrunk.append(float(updates["decoder"]["layers"]["feed_forward"]["out"].mean()))

  assert shrunk[0] == shrunk[1] == pytest.approx(settings.weight_decay)
