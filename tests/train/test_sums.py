"""A checkpoint's sums notice every change of the arrays, and ignore their layout."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from gato_jax.model import sharding
from gato_jax.train import checksums

jax.config.update("jax_num_cpu_devices", 4)
pytestmark = pytest.mark.alone  # the devices of a process are fixed
ROWS, COLUMNS = 6, 4


def total(array, version=2):
  return checksums.compute({"w": array}, version)["['w']"]


def values(dtype):
  """An array [ROWS, COLUMNS] of distinct values."""
  drawn = np.random.default_rng(0).permutation(np.arange(1, ROWS * COLUMNS + 1))
  return drawn.reshape(ROWS, COLUMNS).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", jnp.bfloat16, "int32", "uint8", "float64"])
def test_any_single_bit_shows(dtype):
  with jax.enable_x64(True):
    array = values(dtype)
    sums = {total(array)}
    for byte, bit in itertools.product(range(array.nbytes), range(8)):
      changed = bytearray(array.tobytes())
      changed[byte] ^= 1 << bit
      sums.add(total(np.frombuffer(changed, array.dtype).reshape(array.shape)))
    assert len(sums) == 1 + 8 * array.nbytes


def test_what_cancelled_in_a_plain_sum_shows():
  """Two flipped signs, x and -x exchanged, and rows exchanged."""
  array = values("float32")
  places = list(np.ndindex(array.shape))
  flipped, swapped = [], []

  for one, other in itertools.combinations(places, 2):
    changed = array.copy()
    changed[one], changed[other] = -array[one], -array[other]
    flipped.append(total(changed))

    before = array.copy()
    before[other] = -array[one]
    after = before.copy()
    after[one], after[other] = before[other], before[one]
    swapped.append(total(before) != total(after))

    if (
      one[0] + one[1] + other[0] + other[1] == 1
    ):  # seen once: the sums of old checkpoints are blind to it
      assert total(changed, version=1) == total(array, version=1)
      assert total(after, version=1) == total(before, version=1)

  assert len({total(array), *flipped}) == 1 + len(flipped) and all(swapped)

  orders = list(itertools.permutations(range(ROWS)))[::7]

  assert len({total(array[list(order)]) for order in orders}) == len(orders)


@pytest.mark.parametrize("version", [1, 2])
def test_layouts_have_the_same_sums(version):
  array = np.random.default_rng(0).normal(size=(8, 12)).astype(np.float32)
  found = {total(array, version)}

  for mesh in (
    sharding.make_mesh(4, 1, 1),
    sharding.make_mesh(1, 2, 2),
    sharding.make_mesh(2, 2, 1),
  ):
    for spec in (
      PartitionSpec("data"),
      PartitionSpec(None, ("fsdp", "model")),
      PartitionSpec("fsdp", "data"),
    ):
      found.add(total(jax.device_put(array, NamedSharding(mesh, spec)), version))

  assert len(found) == 1
