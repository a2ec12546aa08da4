"""On CPUs the embedder skips the patches that a row has room for and does not have."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import CONFIG, init

from gato_jax.model import gato, patch_embedder, sharding
from gato_jax.model.embedding import Embedding

ROWS, ROOM = 5, 50


@functools.cache
def weights():
  params = init(CONFIG, jax.random.key(0))["embedding"]
  # Biases and scales at their first values would hide that they are left out.
  params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(jax.random.key(1), p.shape), params)
  return Embedding(CONFIG).bind({"params": params}).patch_embedder._weights()


def make_patches():
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (ROWS * ROOM, 16, 16, 3), np.uint8)


def present(counts):
  return (np.arange(ROOM) < np.array(counts)[:, None]).reshape(-1)


@pytest.mark.parametrize(
  "counts",
  [
    [0] * ROWS,
    [1, 0, 0, 0, 0],
    [0, ROOM, 0, 3, 11],  # one chunk exactly
    [ROOM, 7, 0, ROOM, 1],
    [ROOM] * ROWS,  # the last chunk is filled up with no patch at all
  ],
)
def test_vectors_and_gradients_are_those_of_all_patches(counts):
  patches, is_present = jnp.asarray(make_patches()), jnp.asarray(present(counts))

  @functools.partial(jax.jit, static_argnums=0)
  def compute(embed, weights):
    def loss(weights):
      vectors = jnp.where(is_present[:, None], embed(weights), 0.0)
      return jnp.sum(jnp.sin(3 * vectors)), vectors

    (_, vectors), gradients = jax.value_and_grad(loss, has_aux=True)(weights)
    return vectors, gradients

  vectors, gradients = compute(
    lambda weights: patch_embedder._embed_present(weights, patches, is_present), weights()
  )
  expected, expected_gradients = compute(
    lambda weights: patch_embedder._embed(weights, patches), weights()
  )

  np.testing.assert_allclose(vectors, expected, atol=1e-5)
  for ours, theirs in zip(
    jax.tree.leaves(gradients), jax.tree.leaves(expected_gradients), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * max(1.0, np.abs(theirs).max()))


def test_absent_patches_take_no_part():
  patches, is_present = make_patches(), present([3, 0, 9, 1, 0])
  other = np.where(is_present[:, None, None, None], patches, 7)

  embed = jax.jit(patch_embedder._embed_present)

  np.testing.assert_array_equal(
    embed(weights(), patches, is_present)[is_present],
    embed(weights(), other, is_present)[is_present],
  )


def test_devices_skip_their_own_absent_patches():
  """Each device of a mesh runs as many chunks as its rows need."""
  mesh = sharding.make_mesh(devices=jax.devices()[:2])
  room = 300
  counts = np.array([0, 200])
  patches = np.random.default_rng(0).integers(0, 256, (2, room, 16, 16, 3), np.uint8)
  params = init(CONFIG, jax.random.key(0))["embedding"]["patch_embedder"]

  def loss(params, patches, counts):
    vectors = patch_embedder.PatchEmbedder(CONFIG).apply({"params": params}, patches, counts)
    is_present = jnp.arange(room) < counts[:, None]
    return jnp.sum(jnp.where(is_present[..., None], vectors, 0.0) ** 2)

  def device_loss(*args):
    return jax.lax.psum(loss(*args), sharding.BATCH_AXES)

  boxed = jax.eval_shape(lambda: gato.init_boxed(CONFIG, jax.random.key(0)))
  shardings = sharding.parameter_shardings(boxed, mesh)["embedding"]["patch_embedder"]
  specs = jax.tree.map(sharding.by_hand, shardings)
  rows = jax.sharding.PartitionSpec(sharding.BATCH_AXES)
  with jax.set_mesh(mesh):
    split = jax.shard_map(
      jax.grad(device_loss),
      in_specs=(specs, rows, rows),
      out_specs=specs,
      axis_names=set(sharding.BATCH_AXES),
    )
    ours = jax.device_get(jax.jit(split)(params, patches, counts))
  theirs = jax.device_get(jax.jit(jax.grad(loss))(params, patches, counts))

  largest = max(np.abs(leaf).max() for leaf in jax.tree.leaves(theirs))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * largest), ours, theirs
  )
