"""The Pallas kernel, interpreted on a CPU with small tiles, against the plain way in float32.

tests/model/test_attention_on_tpus.py compiles it for TPUs.
"""

import functools

import attention_cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.model import relative_flash, visibility

TOLERANCE = {"float32": 1e-5, "bfloat16": 1e-2}
TILE = 8


def fused(inputs, key_size):
  return relative_flash.relative_attention(inputs, key_size, TILE, True)


@functools.partial(jax.jit, static_argnums=(0, 3))
def value_and_gradients(function, inputs, d_mixed, key_size):
  """Returns the weighted values and the gradients of all inputs but the codes."""

  def of_arrays(*arrays):
    return function(relative_flash.Inputs(inputs.codes, *arrays), key_size)

  mixed, transpose = jax.vjp(of_arrays, *inputs[1:])
  return {"mixed": mixed, **dict(zip(inputs._fields[1:], transpose(d_mixed), strict=True))}


@pytest.mark.parametrize(
  ("heads", "key_size", "tiles", "dtype", "is_hidden"),
  [
    # Four heads share a run; several tiles use each product of distances twice.
    (4, 32, 3, "float32", True),
    (1, 128, 2, "bfloat16", False),
    pytest.param(8, 32, 4, "bfloat16", True, marks=pytest.mark.slow),  # half a minute
    pytest.param(2, 128, 4, "float32", False, marks=pytest.mark.slow),
    pytest.param(2, 64, 1, "float32", True, marks=pytest.mark.slow),
  ],
)
def test_values_and_gradients_equal_the_plain_way(heads, key_size, tiles, dtype, is_hidden):
  inputs = attention_cases.make_inputs(heads, key_size, tiles * TILE, dtype, is_hidden)
  d_mixed = jax.random.normal(jax.random.key(1), inputs.q.shape, jnp.bfloat16).astype(dtype)
  found = value_and_gradients(fused, inputs, d_mixed, key_size)

  exact = jax.tree.map(lambda x: x.astype(jnp.float32), inputs._replace(codes=None))
  exact = exact._replace(codes=inputs.codes)
  expected = value_and_gradients(
    attention_cases.plain, exact, d_mixed.astype(jnp.float32), key_size
  )

  for name, array in expected.items():
    assert found[name].shape == array.shape, name
    error = np.abs(found[name].astype(jnp.float32) - array).max() / np.abs(array).max()
    assert error < TOLERANCE[dtype], f"{name}: {error:.1e} of the largest"


@pytest.mark.parametrize("is_hidden", [False, True])
def test_tiles_see_what_the_mask_says(is_hidden):
  """Values that are rows of the unit matrix make the output the attention weights."""
  length = 3 * TILE
  inputs = attention_cases.make_inputs(1, 128, length, "float32", is_hidden)
  inputs = inputs._replace(v=jnp.tile(jnp.eye(length, 128), (2, 1, 1)))
  weights = np.asarray(jax.jit(fused, static_argnums=1)(inputs, 128))[:, :, :length]

  np.testing.assert_array_equal(weights > 0, visibility.window_mask(inputs.codes))
  np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)


def test_what_is_computed_is_what_is_stated():
  inputs = attention_cases.make_inputs(4, 32, 64, "bfloat16", False)
  sizes, runs = relative_flash._sizes(inputs, 32, 16)
  cost = relative_flash._cost(inputs, sizes, runs, products=3)

  # Of 4 x 4 tiles of 16 x 16 the 10 on and below the diagonal, in 2 rows of 4 heads of 32.
  assert runs == 1
  assert cost.transcendentals == 2 * 4 * 10 * 16 * 16
  assert cost.flops == 3 * 2 * 32 * cost.transcendentals
