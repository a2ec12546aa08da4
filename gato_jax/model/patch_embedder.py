"""Embeds image patches (Reed et al. 2022, sections 2.1 and 2.2, appendix C.2).

A root convolution is followed by one pre-activation (v2) ResNet block. The map is flattened, not
pooled, so that positions inside a patch are kept (a ball in Pong is 2 pixels).

Legend of shapes:
  B: rows
  P: patches that a row has room for
  N: patches
  C: channels
  D: width
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model import attention_choice, sharding
from gato_jax.model.config import GatoConfig
from gato_jax.model.parameters import parameter
from gato_jax.tokens import vocabulary

# Side and stride of the root convolution: a patch of 16 x 16 pixels becomes a 2 x 2 map.
_ROOT_SIDE = 8
_MAP_SIDE = vocabulary.PATCH_SIDE // _ROOT_SIDE
_MAP_CELLS = _MAP_SIDE**2

# Groups of the group norm (Reed et al. 2022, appendix C.2).
_GROUPS = 32

# Patches that a CPU embeds together, so that the room for absent ones costs nothing.
_CPU_CHUNK = 64

_Carry = TypeVar("_Carry")


class _Affine(NamedTuple):
  """A matrix or a scale, and what is added behind it; both for a flattened 2 x 2 map."""

  weight: jax.Array
  bias: jax.Array


class _Weights(NamedTuple):
  """Weights of the embedder, as `_embed` multiplies by them."""

  root: _Affine
  norm_1: _Affine
  conv_1: _Affine
  norm_2: _Affine
  conv_2: _Affine
  out: jax.Array


class _Convolution3x3(nn.Module):
  """3 x 3 convolution with zero padding on a flattened 2 x 2 map [.., 4C], as a matrix [4C, 4C].

  Only 16 of the 36 taps lie inside the map, so one product with this matrix takes fewer operations
  than the convolution, and is far faster on CPUs.
  """

  channels: int

  @nn.compact
  def __call__(self) -> _Affine:
    channels = self.channels
    flat = _MAP_CELLS * channels

    kernel = parameter(
      self,
      "kernel",
      initializer=nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
      axes=("patch",) * 4,
      shape=(3, 3, channels, channels),
    )
    bias = parameter(
      self, "bias", initializer=nn.initializers.zeros, axes=("patch",), shape=(channels,)
    )

    # Input cell i reaches output cell o through tap 1 + i - o of the kernel, in each dimension.
    tap = 1 + np.arange(_MAP_SIDE)[:, None] - np.arange(_MAP_SIDE)[None, :]
    # Indexed by [row in, column in, row out, column out], each a [C, C] matrix.
    dense = kernel[tap[:, None, :, None], tap[None, :, None, :]]
    dense = dense.transpose(0, 1, 4, 2, 3, 5).reshape(flat, flat)

    return _Affine(dense, jnp.tile(bias, _MAP_CELLS))


class _GroupNorm(nn.Module):
  """Scale and bias [4C] of the group norm of a flattened 2 x 2 map."""

  channels: int

  @nn.compact
  def __call__(self) -> _Affine:
    channels = (self.channels,)
    scale = parameter(
      self, "scale", initializer=nn.initializers.ones, axes=("patch",), shape=channels
    )
    bias = parameter(
      self, "bias", initializer=nn.initializers.zeros, axes=("patch",), shape=channels
    )
    return _Affine(jnp.tile(scale, _MAP_CELLS), jnp.tile(bias, _MAP_CELLS))


class PatchEmbedder(nn.Module):
  """Embeds uint8 patches [B, P, 16, 16, 3] as [B, P, D]."""

  config: GatoConfig

  def __call__(self, patches_BxP: jax.Array, counts_B: jax.Array) -> jax.Array:
    """Embeds the patches of a batch.

    Args:
      patches_BxP: Uint8 [B, P, 16, 16, 3].
      counts_B: Int32 [B], the patches that a row has. They come first; the vectors of the others
        are undefined.
    """
    rows, room = patches_BxP.shape[:2]
    patches_N = jnp.asarray(patches_BxP).reshape(rows * room, *patches_BxP.shape[2:])
    weights = self._weights()

    if attention_choice.device().platform == "cpu" and len(patches_N) > _CPU_CHUNK:
      is_present_N = (jnp.arange(room) < counts_B[:, None]).reshape(-1)
      # Also the weights' gradients, which are then summed over the devices.
      weights = sharding.vary_like(weights, patches_N)
      vectors_NxD = _embed_present(weights, patches_N, is_present_N)
    else:
      vectors_NxD = _embed(weights, patches_N)

    return vectors_NxD.reshape(rows, room, -1)

  @nn.compact
  def _weights(self) -> _Weights:
    config, channels = self.config, self.config.patch_channels
    dtype = jnp.dtype(config.dtype)
    fan_in = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")

    root_kernel = parameter(
      self,
      "root_kernel",
      initializer=fan_in,
      axes=("patch", "patch"),
      shape=(_ROOT_SIDE**2 * 3, channels),
    )
    root_bias = parameter(
      self, "root_bias", initializer=nn.initializers.zeros, axes=("patch",), shape=(channels,)
    )
    out_kernel = parameter(
      self,
      "out_kernel",
      initializer=fan_in,
      axes=("patch", "embed"),
      shape=(_MAP_CELLS * channels, config.width),
      dtype=config.dtype,
    )

    def cast(affine: _Affine) -> _Affine:
      return _Affine(affine.weight.astype(dtype), affine.bias.astype(dtype))

    return _Weights(
      root=cast(_Affine(root_kernel, root_bias)),
      # Statistics, scale and bias of a norm are float32.
      norm_1=_GroupNorm(channels, name="norm_1")(),
      conv_1=cast(_Convolution3x3(channels, name="conv_1")()),
      norm_2=_GroupNorm(channels, name="norm_2")(),
      conv_2=cast(_Convolution3x3(channels, name="conv_2")()),
      out=out_kernel.astype(dtype),
    )


def _embed(weights: _Weights, patches_N: jax.Array) -> jax.Array:
  """Embeds uint8 patches [N, 16, 16, 3] as [N, D]."""
  dtype = weights.out.dtype

  # To [-1, 1], divided by the square root of the side (Reed et al. 2022, section 2.1).
  pixels = (patches_N.astype(jnp.float32) / 127.5 - 1.0) / np.sqrt(vocabulary.PATCH_SIDE)

  # An 8 x 8 convolution of stride 8 is a product of each 8 x 8 x 3 block with one matrix.
  blocks = pixels.reshape(-1, _MAP_SIDE, _ROOT_SIDE, _MAP_SIDE, _ROOT_SIDE, 3)
  blocks = blocks.swapaxes(2, 3).reshape(-1, _MAP_CELLS, _ROOT_SIDE**2 * 3).astype(dtype)
  x = (blocks @ weights.root.weight + weights.root.bias).reshape(len(blocks), -1)

  h = nn.gelu(_group_norm(x, weights.norm_1))
  h = h @ weights.conv_1.weight + weights.conv_1.bias
  h = nn.gelu(_group_norm(h, weights.norm_2))
  x = x + h @ weights.conv_2.weight + weights.conv_2.bias

  return x @ weights.out


def _group_norm(x_Nx4C: jax.Array, norm: _Affine) -> jax.Array:
  """Group norm of a flattened 2 x 2 map [N, 4C]; statistics in float32."""
  # A group's statistics are over the map's cells and the channels of the group. As products with a
  # matrix of zeros and ones, they are far faster on CPUs than sums over two axes.
  channels = x_Nx4C.shape[-1] // _MAP_CELLS
  group_C = np.arange(channels) // (channels // _GROUPS)
  group = np.tile(group_C, _MAP_CELLS)
  members = (group[:, None] == np.arange(_GROUPS)).astype(np.float32)

  def group_mean(values: jax.Array) -> jax.Array:
    sums = jnp.matmul(values, members, precision=jax.lax.Precision.HIGHEST)
    return (sums * (_GROUPS / len(group)))[..., group]

  centred = x_Nx4C.astype(jnp.float32)
  centred -= group_mean(centred)
  normal = centred * jax.lax.rsqrt(group_mean(jnp.square(centred)) + 1e-6)

  return (normal * norm.weight + norm.bias).astype(x_Nx4C.dtype)


@jax.custom_vjp
def _embed_present(weights: _Weights, patches_N: jax.Array, is_present_N: jax.Array) -> jax.Array:
  """Embeds the patches that are present, in chunks; the vectors of the others are undefined.

  A mixture of tasks has room for as many patches as its largest images in every row, and most rows
  have fewer. A loop ends behind the present ones, so their number may differ from batch to batch.
  The backward pass computes the forward pass of a chunk again instead of keeping it.
  """

  def add_chunk(index_C: jax.Array, vectors_NxD: jax.Array) -> jax.Array:
    return vectors_NxD.at[index_C].set(_embed(weights, patches_N[index_C]), mode="drop")

  zeros_NxD = jnp.zeros((len(patches_N), weights.out.shape[-1]), weights.out.dtype)
  return _over_present(add_chunk, is_present_N, sharding.vary_like(zeros_NxD, patches_N))


def _embed_present_forward(
  weights: _Weights, patches_N: jax.Array, is_present_N: jax.Array
) -> tuple[jax.Array, tuple]:
  return _embed_present(weights, patches_N, is_present_N), (weights, patches_N, is_present_N)


def _embed_present_backward(residuals: tuple, d_vectors_NxD: jax.Array) -> tuple:
  weights, patches_N, is_present_N = residuals

  def add_chunk(index_C: jax.Array, d_weights: _Weights) -> _Weights:
    _, pull_back = jax.vjp(lambda weights: _embed(weights, patches_N[index_C]), weights)
    # What only fills up the last chunk has no gradient.
    d_vectors_CxD = d_vectors_NxD.at[index_C].get(mode="fill", fill_value=0)
    return jax.tree.map(jnp.add, d_weights, pull_back(d_vectors_CxD)[0])

  d_weights = _over_present(add_chunk, is_present_N, jax.tree.map(jnp.zeros_like, weights))
  return d_weights, None, None


_embed_present.defvjp(_embed_present_forward, _embed_present_backward)


def _over_present(
  add_chunk: Callable[[jax.Array, _Carry], _Carry], is_present_N: jax.Array, carry: _Carry
) -> _Carry:
  """Calls `add_chunk(index_C, carry)` for chunks of indices until all present ones are done.

  The last chunk is filled up with absent ones, and where there are none left with N, which is no
  index.
  """
  count = len(is_present_N)
  order = jnp.argsort(~is_present_N, stable=True)
  order = jnp.pad(order, (0, -count % _CPU_CHUNK), constant_values=count)

  def step(i: jax.Array, carry: _Carry) -> _Carry:
    return add_chunk(jax.lax.dynamic_slice_in_dim(order, i * _CPU_CHUNK, _CPU_CHUNK), carry)

  chunks = (is_present_N.sum() + _CPU_CHUNK - 1) // _CPU_CHUNK
  return jax.lax.fori_loop(0, chunks, step, carry)
