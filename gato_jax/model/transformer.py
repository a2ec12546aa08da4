"""Pre-norm decoder with Transformer-XL relative attention and GEGLU (GATO_SPEC section 3; Dai et al. 2019).

Shapes: B rows, L queries, H heads, K key size, N memory length, D distances, d width. Scores are [H, B, L, keys].
"""

from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model.config import GatoConfig
from gato_jax.model.parameters import parameter

_MASKED = -1e30
_FAN_IN = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal")


@flax.struct.dataclass
class Attendance:
  """Who sees whom, the same in every layer.

  Attributes:
    own: bool [B, L, L], query x key of the same sequence or chunk.
    distances: float32 [D, d], sinusoids of the distances D-2 .. 0 and -1: see `_shift`.
    memory: bool [B, L, N], query x memory slot; None without memory.
    memory_index: int32 [B, L, N], index into `distances` of the distance between a query and a memory slot.
  """

  own: jax.Array
  distances: jax.Array
  memory: jax.Array | None = None
  memory_index: jax.Array | None = None


def distance_table(largest: int, width: int) -> jax.Array:
  """Sinusoids of the distances largest, ..., 1, 0, -1 -> float32 [largest + 2, width]. -1 pads and is never used."""
  distances = np.arange(largest, -2, -1, dtype=np.float64)
  frequencies = 1.0 / 10_000 ** (np.arange(0, width, 2) / width)
  angles = distances[:, None] * frequencies
  return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=-1), jnp.float32)


def _shift(relative: jax.Array, start: int) -> jax.Array:
  """[H, B, l, k + 1] of distances k-1 .. -1 -> [H, B, l, k] of distance start + i - j at [.., i, j]; later j: garbage.

  Queries begin at position `start`, keys at 0. With one column more than keys this is a shift of the flattened array:
  no gather and no padding.
  """
  heads, rows, queries, columns = relative.shape
  keys = columns - 1
  flat = relative.reshape(heads, rows, queries * columns)
  offset = keys - 1 - start
  return flat[:, :, offset : offset + queries * keys].reshape(heads, rows, queries, keys)


class RelativeAttention(nn.Module):
  """Multi-head attention with content and distance terms (Dai et al. 2019, section 3.3)."""

  config: GatoConfig

  @nn.compact
  def __call__(
    self, x: jax.Array, attendance: Attendance, memory: tuple[jax.Array, jax.Array] | None
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """[B, L, d] -> [B, L, d] and this chunk's keys and values [B, H, L, K]. Memory: keys, values [B, H, N, K]."""
    config = self.config
    d, heads, size = config.width, config.heads, config.key_size
    dtype = jnp.dtype(config.dtype)
    in_projection = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=0, out_axis=(1, 2, 3))
    qkv = parameter(self, "qkv", in_projection, ("embed", "qkv", "heads", "key"), (d, 3, heads, size), dtype)
    distance = parameter(self, "distance", _FAN_IN, ("embed", "heads", "key"), (d, heads, size), dtype)
    content_bias = parameter(self, "content_bias", nn.initializers.zeros, ("heads", "key"), (heads, size))
    distance_bias = parameter(self, "distance_bias", nn.initializers.zeros, ("heads", "key"), (heads, size))

    query, key, value = jnp.einsum("bld,dchk->blchk", x, qkv.astype(dtype)).transpose(2, 3, 0, 1, 4)
    relative_key = jnp.einsum("md,dhk->hmk", attendance.distances.astype(dtype), distance.astype(dtype))
    scale = size**-0.5
    content_query = (query + content_bias.astype(dtype)[:, None, None]) * scale
    distance_query = (query + distance_bias.astype(dtype)[:, None, None]) * scale
    length = x.shape[1]
    block = config.attention_block if config.attention_block and memory is None else length

    def product(equation: str, a: jax.Array, b: jax.Array) -> jax.Array:
      return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)

    def memory_scores() -> jax.Array:
      content = product("hblk,bhmk->hblm", content_query, memory[0])
      relative = product("hblk,hmk->hblm", distance_query, relative_key)
      relative = jnp.take_along_axis(relative, attendance.memory_index[None], axis=-1)
      return jnp.where(attendance.memory, content + relative, _MASKED)

    mixed = []
    for start in range(0, length, block):  # keys after a block's last query are never touched
      queries, end = slice(start, start + block), min(start + block, length)
      scores = product("hblk,hbmk->hblm", content_query[:, :, queries], key[:, :, :end])
      relative = product("hblk,hmk->hblm", distance_query[:, :, queries], relative_key[:, -(end + 1) :])
      scores = jnp.where(attendance.own[:, queries, :end], scores + _shift(relative, start), _MASKED)
      if memory is not None:
        scores = jnp.concatenate([memory_scores(), scores], axis=-1)
      weights = jax.nn.softmax(scores, axis=-1).astype(dtype)
      part = jnp.einsum("hblm,hbmk->hblk", weights[..., -end:], value[:, :, :end])
      if memory is not None:
        part += jnp.einsum("hblm,bhmk->hblk", weights[..., :-end], memory[1])
      mixed.append(part)
    mixed = jnp.concatenate(mixed, axis=2)

    out_initializer = nn.initializers.variance_scaling(0.5 / config.layers, "fan_in", "truncated_normal", (0, 1), 2)
    out = parameter(self, "out", out_initializer, ("heads", "key", "embed"), (heads, size, d), dtype)
    return jnp.einsum("hblk,hkd->bld", mixed, out.astype(dtype)), (key.swapaxes(0, 1), value.swapaxes(0, 1))


class FeedForward(nn.Module):
  """GEGLU (Shazeer 2020): d x F in, one half gates the other, F/2 x d out."""

  config: GatoConfig

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    config = self.config
    dtype = jnp.dtype(config.dtype)
    half = config.feed_forward // 2
    in_projection = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=0, out_axis=(1, 2))
    wide = parameter(self, "in", in_projection, ("embed", "qkv", "mlp"), (config.width, 2, half), dtype)
    out_initializer = nn.initializers.variance_scaling(0.5 / config.layers, "fan_in", "truncated_normal")
    out = parameter(self, "out", out_initializer, ("mlp", "embed"), (half, config.width), dtype)
    gate, value = jnp.moveaxis(jnp.einsum("bld,dcf->blcf", x, wide.astype(dtype)), 2, 0)
    return (nn.gelu(gate) * value) @ out.astype(dtype)


class LayerNorm(nn.Module):
  """With scale and bias, as in Transformer-XL; statistics in float32."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    scale = parameter(self, "scale", nn.initializers.ones, ("norm",), x.shape[-1:])
    bias = parameter(self, "bias", nn.initializers.zeros, ("norm",), x.shape[-1:])
    wide = x.astype(jnp.float32)
    wide -= wide.mean(-1, keepdims=True)
    normal = wide * jax.lax.rsqrt(jnp.square(wide).mean(-1, keepdims=True) + 1e-6)
    return (normal * scale + bias).astype(x.dtype)


class Block(nn.Module):
  """Attention and feed-forward, each pre-norm, with a residual and stochastic depth."""

  config: GatoConfig

  @nn.compact
  def __call__(
    self, x: jax.Array, memory: Any, attendance: Attendance, rows: jax.Array | None
  ) -> tuple[jax.Array, Any]:
    mixed, new = RelativeAttention(self.config, name="attention")(
      LayerNorm(name="attention_norm")(x), attendance, memory
    )
    x += self._drop_path(mixed, rows)
    x += self._drop_path(FeedForward(self.config, name="feed_forward")(LayerNorm(name="feed_forward_norm")(x)), rows)
    return x, None if memory is None else new

  def _drop_path(self, x: jax.Array, rows: jax.Array | None) -> jax.Array:
    """Skips a sub-layer for a row with probability drop_path (Huang et al. 2016); kept rows are scaled up.

    A row draws from a key of its own number, so the draw does not depend on how the batch lies over devices.
    """
    rate = self.config.drop_path
    if rows is None or not rate:
      return x
    keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("train"), rows)
    keep = jax.vmap(lambda key: jax.random.bernoulli(key, 1.0 - rate))(keys)
    return jnp.where(keep[:, None, None], x / (1.0 - rate), 0.0).astype(x.dtype)


class Decoder(nn.Module):
  """All blocks and the final norm. Parameters of the blocks are stacked along a first axis `layers`."""

  config: GatoConfig

  @nn.compact
  def __call__(self, x: jax.Array, attendance: Attendance, memory: Any = None, rows: jax.Array | None = None):
    """[B, L, d] and memory (keys, values [layers, B, H, N, K] or None) -> [B, L, d], new keys and values.

    `rows`: int32 [B], the rows' numbers in the global batch, in training; None: no stochastic depth.
    """
    config = self.config
    block = Block
    if config.remat != "none":
      policy = jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims if config.remat == "dots" else None
      block = nn.remat(Block, prevent_cse=not config.scan_layers, policy=policy)
    stack = nn.scan(
      block,
      variable_axes={"params": 0},
      split_rngs={"params": True, "train": True},
      in_axes=(nn.broadcast if memory is None else 0, nn.broadcast, nn.broadcast),
      length=config.layers,
      unroll=1 if config.scan_layers else config.layers,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    x, new = stack(config, name="layers")(x, memory, attendance, rows)
    return LayerNorm(name="final_norm")(x), new
