"""Eight devices compute what one computes, with the communication that sharding.py describes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec

from benchmarks.train_step import control_batch
from gato_jax import model
from gato_jax.errors import GatoError
from gato_jax.model import sharding
from gato_jax.tokens.vocabulary import Kind
from gato_jax.train import optimizer, step
from launch import collectives, compiled_step, slices

jax.config.update("jax_num_cpu_devices", 8)
pytestmark = pytest.mark.alone  # the devices of a process are fixed

CONFIG = model.GatoConfig(
  layers=2,
  heads=2,
  width=32,
  feed_forward=64,
  key_size=16,
  patch_channels=64,
  drop_path=0.3,
  text_pieces=1024,  # batches have no text
  dtype="float32",
  remat="full",
)
ROWS, LENGTH, COMPONENTS = 16, 36, 3
TOLERANCE = 1e-5


def batch(seed=0):
  """Control windows with images; rows differ in their number of targets."""
  random = np.random.default_rng(seed)
  kept = random.random((ROWS, LENGTH)) < np.linspace(0.1, 1, ROWS)[:, None]
  made = control_batch(ROWS, LENGTH, seed)
  made["kinds"][:, :2], made["patch_slots"][:, 1] = Kind.PATCH, 1
  return made | {
    "targets": made["targets"] & kept,
    "components": (np.arange(ROWS) % COMPONENTS).astype(np.int32),
    # Room for more than there are: enough for one device to skip some of it.
    "patches": random.integers(0, 256, (ROWS, 9, 16, 16, 3), np.uint8),
    "patch_positions": np.tile(np.array([0, 64, 64, 128], np.int32), (ROWS, 9, 1)),
  }


def trainer(shape, accumulate=1, config=CONFIG):
  devices = jax.devices()[: int(np.prod(shape))]
  mesh = sharding.make_mesh(*shape, devices=devices)
  return step.Trainer(
    config,
    optimizer.OptimizerConfig(peak_learning_rate=1e-3),
    mesh,
    components=COMPONENTS,
    loss_chunk=16,
    accumulate=accumulate,
  )


def gradients(shape, accumulate=1):
  """Returns (loss, its parts, gradients) of initial parameters, unsharded, on the host."""
  t = trainer(shape, accumulate)
  with jax.set_mesh(t.mesh):
    compute = jax.jit(t.gradients)
    return jax.device_get(compute(t.init().params, t.put(batch()), jax.random.key(1)))


@functools.cache
def alone():
  return gradients((1, 1, 1))


@pytest.mark.parametrize(
  ("shape", "accumulate"),
  [
    # The last one has the axes of those that are slow, and microbatches.
    pytest.param((8, 1, 1), 1, marks=pytest.mark.slow),
    pytest.param((1, 8, 1), 1, marks=pytest.mark.slow),
    pytest.param((1, 1, 2), 1, marks=pytest.mark.slow),
    pytest.param((1, 1, 1), 4, marks=pytest.mark.slow),
    pytest.param((2, 2, 2), 1, marks=pytest.mark.slow),
    ((2, 2, 2), 2),
  ],
)
def test_loss_and_gradients_equal_one_device(shape, accumulate):
  """Holds with stochastic depth and drawn patch positions, too.

  A row's draws do not depend on the device that holds it.
  """
  total, parts, ours = gradients(shape, accumulate)
  expected, expected_parts, theirs = alone()

  np.testing.assert_allclose(total, expected, rtol=TOLERANCE)

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=TOLERANCE), parts, expected_parts)
  assert parts["patches"] == 2 * ROWS

  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs))

  def same(path, a, b):
    # What is 0 but for rounding (a bias in front of a norm) is compared with the network's largest
    # gradient.
    error = np.abs(a - b).max() / max(np.abs(b).max(), 1e-3 * largest)
    assert error < TOLERANCE, f"{jax.tree_util.keystr(path)}: {error:.1e} of the largest"

  jax.tree_util.tree_map_with_path(same, ours, theirs)


@pytest.mark.slow  # tests/train/test_processes.py compares 12 steps of 8 devices with those of one
def test_three_steps_equal_one_device():
  def losses(t):
    state, found = t.init(), []
    for i in range(3):
      state, metrics = t(state, t.put(batch(i)), 100)
      found.append([float(metrics[name]) for name in ("loss", "gradient_norm", "update_norm")])
    return np.array(found)

  ours, theirs = losses(trainer((2, 2, 2))), losses(trainer((1, 1, 1)))

  np.testing.assert_allclose(ours, theirs, rtol=5 * TOLERANCE)
  assert len(set(theirs[:, 0])) == 3


def test_state_lies_as_the_table_says():
  state = trainer((2, 2, 2)).init()
  wide = state.params["decoder"]["layers"]["feed_forward"]["in"]
  assert wide.sharding.spec == PartitionSpec(None, "fsdp", None, "model")
  moments = [a for a in jax.tree.leaves(state.optimizer) if a.shape == wide.shape]
  assert len(moments) == 2 and all(a.sharding == wide.sharding for a in moments)


def test_every_parameter_needs_a_rule():
  boxed = jax.eval_shape(lambda: model.init_boxed(CONFIG, jax.random.key(0)))
  mesh = sharding.make_mesh()
  sharding.parameter_shardings(boxed, mesh)

  with pytest.raises(ValueError, match="'new'.*no logical axes"):
    sharding.parameter_shardings({**boxed, "new": jnp.zeros(3)}, mesh)

  kernel = boxed["embedding"]["tokens"]

  with pytest.raises(ValueError, match="axis 'colour' has no rule"):
    sharding.parameter_shardings(
      {"new": dataclasses.replace(kernel, names=("colour", "embed"))}, mesh
    )


def test_a_checkpoint_of_another_width_is_refused():
  params = trainer((1, 8, 1)).template().params
  other = trainer((1, 8, 1), config=dataclasses.replace(CONFIG, width=64))
  with pytest.raises(ValueError, match="the config says"), jax.set_mesh(other.mesh):
    jax.eval_shape(other.gradients, params, jax.tree.map(jnp.asarray, batch()), jax.random.key(0))


@pytest.mark.parametrize(
  ("axes", "said"),
  [
    ((3, 1, 1), "8 devices do not make"),
    ((0, 3, 1), "do not make"),
    ((0, 0, 1), "one of them at most"),
  ],
)
def test_a_mesh_that_cannot_be_is_one_line(axes, said):
  with pytest.raises(GatoError, match=said):
    sharding.make_mesh(*axes)


def test_a_process_knows_its_rows():
  np.testing.assert_array_equal(
    sharding.process_rows(sharding.make_mesh(2, 2, 2), 12), np.arange(12)
  )
  with pytest.raises(GatoError, match="train.batch_size=12 does not divide among 8"):
    sharding.check_batch(sharding.make_mesh(), 12)

  sharding.check_batch(sharding.make_mesh(), 16, accumulate=2)

  with pytest.raises(GatoError, match="among 8 devices .* train.accumulate=3;"):
    sharding.check_batch(sharding.make_mesh(), 16, accumulate=3)


@pytest.mark.slow  # half a minute of XLA for a TPU slice
@pytest.mark.parametrize("mesh", [(2, 2, 1)])
def test_weight_gradients_are_reduce_scattered_on_tpus(mesh):
  """Compiles for a real slice (v5e:2x2).

  No device sums the whole gradient of a sharded parameter.
  """
  config = model.GatoConfig(
    layers=2, heads=4, width=512, feed_forward=1024, key_size=128, patch_channels=32
  )
  t = step.Trainer(
    config,
    optimizer.OptimizerConfig(),
    sharding.make_mesh(*mesh, slices.describe("v5e:2x2").devices),
    components=1,
    loss_chunk=64,
  )
  shapes = compiled_step.Shapes(rows=8, length=128, patches=2, targets=12, components=1)
  found = collectives.collectives(t.lower(shapes.batch()).compile().as_text())
  sizes = jax.tree.map(
    lambda a, s: 4 * a.size if "fsdp" in s.spec else 0,
    model.abstract_params(config),
    t.shardings.params,
  )
  sharded = sum(jax.tree.leaves(sizes))
  sums = collectives.totals(found)
  data = mesh[0] > 1

  assert sums["reduce-scatter"][1] >= 0.999 * sharded  # less the action position, one row

  # What may be all-reduced: the shards' sum over data, norms and biases, a few numbers.
  assert sums["all-reduce"][1] < (0.55 if data else 0.05) * sharded
