"""Checksums of arrays that do not depend on how the arrays are laid out on devices.

A checkpoint stores them beside its arrays, so that damage is found on any mesh.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

VERSION = 2  # 1: checkpoints without "sums_version"
# Two independent hashes per array: the first fractional digits of pi, in hexadecimal.
_HASH_KEYS = 0x243F6A88, 0x85A308D3


def compute(tree: Any, version: int = VERSION) -> dict[str, int]:
  """Returns a checksum of the bits of every array, by its path in the tree.

  All processes call it where the arrays span processes.

  Args:
    tree: A pytree of arrays.
    version: 2, or 1 for checkpoints without "sums_version".
  """
  paths_and_leaves = jax.tree_util.tree_leaves_with_path(tree)
  arrays = [leaf for _, leaf in paths_and_leaves]
  words_per_array = jax.device_get(_checksum_words(arrays, version))

  checksums = {}
  for (path, _), words in zip(paths_and_leaves, words_per_array, strict=True):
    # The 32-bit words of a checksum form one integer, the least significant word first.
    checksum = sum(int(word) << (32 * i) for i, word in enumerate(words))
    checksums[jax.tree_util.keystr(path)] = checksum

  return checksums


@functools.partial(jax.jit, static_argnums=1)
def _checksum_words(arrays: list[jax.Array], version: int) -> list[list[jax.Array]]:
  """Returns sums modulo 2**32 for each array.

  The sums are over integers, so they are the same in any order and for any layout.

  Version 2 has two sums for each array. Each adds up a hash of every word and its index, so two
  changes cancel in both with a probability of 2**-64. Version 1, words x (2 x index + 1), does not
  notice two flipped signs, whose changes are 2**31 each.
  """

  def checksum_array(array: jax.Array) -> list[jax.Array]:
    words = _to_words(array)

    # The row-major index of every word, computed per axis: a reshape would move shards.
    index = jnp.zeros(words.shape, jnp.uint32)
    for axis in range(words.ndim):
      stride = jnp.uint32(math.prod(words.shape[axis + 1 :]) % 2**32)
      index += jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis) * stride

    if version == 1:
      terms = [words * (2 * index + 1)]
    else:
      terms = [_hash(words ^ _hash(index + jnp.uint32(key))) for key in _HASH_KEYS]

    return [jnp.sum(term, dtype=jnp.uint32) for term in terms]

  return [checksum_array(array) for array in arrays]


def _to_words(array: jax.Array) -> jax.Array:
  """Returns the bits of an array as uint32, in the array's shape.

  Numbers of 8 bytes become two words each, along an additional last axis.
  """
  if array.dtype == bool:
    return array.astype(jnp.uint32)

  unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(array.dtype.itemsize, jnp.uint32)
  return jax.lax.bitcast_convert_type(array, unsigned).astype(jnp.uint32)


def _hash(x: jax.Array) -> jax.Array:
  """Returns a hash of uint32 words (lowbias32 by Chris Wellons).

  It is a bijection, so any change of a word changes its hash.
  """
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return x ^ (x >> 16)
