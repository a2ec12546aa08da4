"""The network: parameter counts, causality, packing, padding, patch embedder, KV cache."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from model_cases import (
  CONFIG,
  NETWORK,
  STEP,
  Kind,
  acting_params,
  embed,
  extend_all,
  forward,
  init,
  make_batch,
  memory_of,
  reference_with_window,
)

from gato_jax import model
from gato_jax.errors import GatoError
from gato_jax.tokens import vocabulary


@pytest.fixture(scope="module")
def params():
  params = init(CONFIG, jax.random.key(0))
  biases = params["decoder"]["layers"][
    "attention"
  ]  # zeros at the start would hide a wrong distance term
  for i, name in enumerate(["content_bias", "distance_bias"]):
    biases[name] = jax.random.normal(jax.random.key(i), biases[name].shape)
  return params


@pytest.mark.parametrize(
  "name, published", [("gato_79m", 79e6), ("gato_364m", 364e6), ("gato_1b", 1.18e9)]
)
def test_published_sizes(name, published):
  params = model.abstract_params(model.variant(name))
  assert abs(model.count_parameters(params) / published - 1) < 0.01


def test_patch_embedder_size():
  params = model.abstract_params(model.variant("gato_1b"))
  assert 0.5e6 <= model.count_parameters(params["embedding"]["patch_embedder"]) <= 1.05e6


def test_tiny_is_small():
  params = model.abstract_params(model.variant("tiny"))
  assert model.count_parameters(params["decoder"]) < 3e6


def test_unknown_variant_names_the_nearest():
  with pytest.raises(GatoError, match="gato_79m"):
    model.variant("gato_79")
  with pytest.raises(GatoError, match="width"):
    model.GatoConfig.from_json({**CONFIG.to_json(), "widht": 3})


def test_causality_by_gradients(params):
  batch = make_batch()
  x = embed(params, batch)
  length = x.shape[1]

  def hidden_at(x, position):
    hidden = NETWORK.apply({"params": params}, x, batch, method="decode")
    return jnp.square(hidden[0, position]).sum()

  influence = jax.jit(
    lambda x: jax.vmap(lambda p: jnp.abs(jax.grad(hidden_at)(x, p)[0]).sum(-1))(jnp.arange(length))
  )
  influence = np.asarray(influence(x))  # [position read, position changed]
  own = np.eye(length, dtype=bool)
  padding = batch["kinds"][0] == Kind.PADDING
  sees = (np.tril(np.ones((length, length), bool)) & ~padding & ~padding[:, None]) | own

  assert np.all(influence[~sees] == 0)
  assert np.all(influence[sees & ~own] > 0)


def test_packed_segments_do_not_leak(params):
  batch, other = make_batch(), make_batch(seed=1)
  half = len(STEP) * 2
  batch["segments"][:, half:] *= 2
  whole = forward(params, batch)
  changed = {
    **batch,
    "tokens": np.concatenate([other["tokens"][:, :half], batch["tokens"][:, half:]], 1),
  }

  np.testing.assert_array_equal(whole[:, half:], forward(params, changed)[:, half:])
  assert not np.allclose(whole[:, :half], forward(params, changed)[:, :half])

  alone = {k: v[:, half:] if v.shape[1] == len(STEP) * 4 else v for k, v in batch.items()}

  np.testing.assert_allclose(whole[:, half:], forward(params, alone), atol=1e-5)


def test_padding_never_leaks(params):
  batch = make_batch()
  real = batch["kinds"] != Kind.PADDING
  before = forward(params, batch)
  after = forward(params, {**batch, "tokens": np.where(real, batch["tokens"], 77)})

  np.testing.assert_array_equal(np.asarray(before)[real], np.asarray(after)[real])

  empty = {
    **batch,
    "kinds": np.zeros_like(batch["kinds"]),
    "segments": np.zeros_like(batch["segments"]),
  }

  assert np.all(np.isfinite(forward(params, empty)))


def test_relative_distance_not_place(params):
  """The same tokens later in the row, behind padding, give the same hidden states."""
  batch = make_batch(rows=1)
  shifted = {
    k: np.pad(v, ((0, 0), (5, 0))) if k not in ("patches", "patch_positions") else v
    for k, v in batch.items()
  }
  shifted["locals"][:, :5] = -1
  real = batch["kinds"] != Kind.PADDING
  ours, moved = (
    np.asarray(forward(params, batch))[real],
    np.asarray(forward(params, shifted))[:, 5:][real],
  )

  np.testing.assert_allclose(ours, moved, atol=1e-5)


@pytest.mark.parametrize("width", [32, 192])
def test_patch_embedder_sees_a_shift_of_two_pixels(width):
  config = dataclasses.replace(CONFIG, width=width)
  params = init(config, jax.random.key(0))
  patches = np.zeros((1, 2, 16, 16, 3), np.uint8)
  patches[0, 0, 4:6, 2:4] = 255  # a ball of 2 pixels
  patches[0, 1, 4:6, 4:6] = 255
  embedder = model.gato.Embedding(config).bind({"params": params["embedding"]}).patch_embedder
  one, two = np.asarray(embedder(patches, np.array([2])))[0]

  assert np.linalg.norm(one - two) > 0.1 * np.linalg.norm(one)


def test_convolution_as_product_is_the_convolution():
  from gato_jax.model.patch_embedder import _Convolution3x3

  layer = _Convolution3x3(32)
  x = jax.random.normal(jax.random.key(0), (3, 2, 2, 32))
  params = jax.tree.map(
    lambda p: jax.random.normal(jax.random.key(1), p.shape),
    model.gato.nn.unbox(layer.init(jax.random.key(0))),
  )
  matrix, matrix_bias = layer.apply(params)
  ours = (x.reshape(3, 128) @ matrix + matrix_bias).reshape(x.shape)
  kernel, bias = params["params"]["kernel"], params["params"]["bias"]
  expected = (
    jax.lax.conv_general_dilated(
      x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    + bias
  )

  np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_each_position_table_is_used(params):
  batch = make_batch()

  @jax.jit
  @jax.grad
  def gradient_of(p):
    return jnp.sum(NETWORK.apply({"params": p}, batch, method="embed") ** 2)

  gradient = gradient_of(params)["embedding"]

  def used(name):
    return set(np.flatnonzero(np.abs(gradient[name]).sum(-1)))

  assert used("local_positions") == {0, 2, 3, 4, 5}
  assert used("action_position") == {0}

  centres = (batch["patch_positions"][..., 0::2] + batch["patch_positions"][..., 1::2]) // 2

  assert used("row_positions") == set(centres[..., 0].ravel())
  assert used("column_positions") == set(centres[..., 1].ravel())
  assert all(np.abs(leaf).sum() > 0 for leaf in jax.tree.leaves(gradient["patch_embedder"]))


def test_patch_positions_in_training_lie_in_the_interval(params):
  batch = make_batch(rows=1, steps=1)
  batch["patch_positions"][:] = [10, 13, 60, 62]

  @jax.jit
  @jax.grad
  def gradient_of(p, key):
    return NETWORK.apply(
      {"params": p}, batch, np.arange(len(batch["kinds"])), method="embed", rngs={"train": key}
    ).sum()

  rows, columns = set(), set()

  for i in range(12):
    gradient = gradient_of(params, jax.random.key(i))["embedding"]
    rows |= set(np.flatnonzero(np.abs(gradient["row_positions"]).sum(-1)))
    columns |= set(np.flatnonzero(np.abs(gradient["column_positions"]).sum(-1)))

  assert rows == {10, 11, 12} and columns == {60, 61}


def test_no_patches_in_the_batch(params):
  batch = make_batch()
  text = {
    **batch,
    "kinds": np.full_like(batch["kinds"], Kind.TEXT),
    "segments": np.ones_like(batch["kinds"]),
  }
  none = {
    **text,
    "patches": batch["patches"][:, :0],
    "patch_positions": batch["patch_positions"][:, :0],
  }

  np.testing.assert_allclose(forward(params, none), forward(params, text), atol=1e-6)


@pytest.mark.parametrize("rate", ["drop_path", "dropout"])
def test_stochastic_depth_and_dropout_only_in_training(params, rate):
  network = model.Gato(dataclasses.replace(CONFIG, **{rate: 0.5}))
  batch = make_batch()
  rows = np.arange(len(batch["kinds"]))

  @jax.jit
  def train(seed, batch, rows):
    return network.apply({"params": params}, batch, rows, rngs={"train": jax.random.key(seed)})

  assert not np.allclose(train(0, batch, rows), train(1, batch, rows))

  # A row's draws follow its number, not its place: batches laid out in another order train alike.
  back = {name: value[::-1] for name, value in batch.items()}

  np.testing.assert_allclose(train(0, back, rows[::-1])[::-1], train(0, batch, rows), atol=1e-5)
  np.testing.assert_array_equal(forward(params, batch, network), forward(params, batch))


@pytest.mark.parametrize("remat, scan, block", [("full", True, 0), ("dots", False, 16)])
def test_remat_scan_and_blocks_change_nothing(params, remat, scan, block):
  network = model.Gato(
    dataclasses.replace(CONFIG, remat=remat, scan_layers=scan, attention_block=block)
  )
  batch = make_batch()

  @functools.partial(jax.jit, static_argnums=1)
  @jax.grad
  def gradient(p, n):
    return jnp.sum(jnp.square(forward(p, batch, n)[..., 0]))

  ours, theirs = gradient(params, NETWORK), gradient(params, network)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3), ours, theirs)


def test_bfloat16_is_near(params):
  network = model.Gato(dataclasses.replace(CONFIG, dtype="bfloat16"))
  batch = make_batch()
  ours = forward(params, batch, network)
  assert ours.dtype == jnp.bfloat16
  assert np.abs(np.asarray(ours, np.float32) - forward(params, batch)).mean() < 0.05


def test_extend_equals_the_forward_pass(params):
  batch = make_batch()
  real = batch["kinds"] != Kind.PADDING
  hidden, memory = extend_all(acting_params(params, 64), batch, memory_of(64))
  np.testing.assert_allclose(hidden[real], np.asarray(forward(params, batch))[real], atol=1e-4)
  np.testing.assert_array_equal(memory.write_index, [36, 36])


@pytest.mark.parametrize("window", [7, 11, 16])
def test_memory_after_wraps_equals_a_slow_reference(params, window):
  batch = make_batch(steps=6)
  real = batch["kinds"] != Kind.PADDING
  hidden, memory = extend_all(acting_params(params, window), batch, memory_of(window))

  assert (
    batch["kinds"].shape[1] > 3 * window
    and memory.write_index[0] == batch["kinds"].shape[1] % window
  )
  np.testing.assert_allclose(
    hidden[real], reference_with_window(params, batch, window)[real], atol=1e-4
  )


def test_rows_reset_and_wait_independently(params):
  """Row 0 starts a new episode while row 1 goes on.

  Then row 1 waits while row 0 reads, and rows come in another order.
  """
  first, second = make_batch(steps=3), make_batch(steps=2, seed=5)
  params = acting_params(params, 20)
  real = second["kinds"] != Kind.PADDING
  _, memory = extend_all(params, first, memory_of(20))
  continued, after = extend_all(params, second, memory)
  fresh, _ = extend_all(params, second, memory_of(20))
  mixed, _ = extend_all(params, second, memory, fresh=(True, False))

  np.testing.assert_allclose(mixed[0][real[0]], fresh[0][real[0]], atol=1e-4)
  np.testing.assert_allclose(mixed[1][real[1]], continued[1][real[1]], atol=1e-4)

  swapped = {k: v[::-1] for k, v in second.items()}
  hidden, both = extend_all(params, swapped, memory, rows=np.array([1, 0]))

  np.testing.assert_allclose(hidden[::-1][real], continued[real], atol=1e-4)

  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), both, after)
  _, kept = extend_all(params, second, memory, rows=np.array([0, 2]))  # there is no row 2
  again, _ = extend_all(params, second, kept)

  np.testing.assert_allclose(again[1], continued[1], atol=1e-4)
  np.testing.assert_array_equal(kept.write_index, [45 % 20, 27 % 20])


def test_logits_of_some_ids(params):
  hidden = jax.random.normal(jax.random.key(0), (3, CONFIG.width))
  whole = NETWORK.apply({"params": params}, hidden, method="logits")
  some = NETWORK.apply({"params": params}, hidden, slice(32_000, 33_024), method="logits")
  assert whole.shape == (3, vocabulary.SIZE) and whole.dtype == jnp.float32
  np.testing.assert_allclose(whole[:, 32_000:33_024], some, atol=1e-5)
