"""Pre-norm decoder with Transformer-XL relative attention and GEGLU (GATO_SPEC section 3; Dai et al. 2019).

Shapes: B rows, L queries, H heads, K key size, d width, D distances; acting: N memory slots, M positions of this step.
Scores are [H, B, L, keys].
"""

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
  """Who sees whom in a window, the same in every layer.

  Attributes:
    own: bool [B, L, L], query x key of the same sequence.
    distances: float32 [L + 1, d], sinusoids of the distances L-1 .. 0 and -1: see `_shift`.
  """

  own: jax.Array
  distances: jax.Array


@flax.struct.dataclass
class Recall:
  """Who sees whom in acting, the same in every layer: queries x N memory slots, then M positions of this step.

  Attributes:
    seen: bool [B, L, N + M]; no query's row is empty.
    index: int32 [B, L, N + M], the relative key of a distance; any where `seen` is False.
  """

  seen: jax.Array
  index: jax.Array


@flax.struct.dataclass
class LayerMemory:
  """What one layer remembers: keys, values [B, H, N, K]; relative_keys [H, D, K] belong to the parameters."""

  keys: jax.Array
  values: jax.Array
  relative_keys: jax.Array


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

  def setup(self):
    config = self.config
    d, heads, size = config.width, config.heads, config.key_size
    in_projection = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=0, out_axis=(1, 2, 3))
    out_initializer = nn.initializers.variance_scaling(0.5 / config.layers, "fan_in", "truncated_normal", (0, 1), 2)
    zeros = nn.initializers.zeros
    qkv_axes = ("embed", "qkv", "heads", "key")
    self.qkv = parameter(self, "qkv", in_projection, qkv_axes, (d, 3, heads, size), config.dtype)
    self.distance = parameter(self, "distance", _FAN_IN, ("embed", "heads", "key"), (d, heads, size), config.dtype)
    self.content_bias = parameter(self, "content_bias", zeros, ("heads", "key"), (heads, size))
    self.distance_bias = parameter(self, "distance_bias", zeros, ("heads", "key"), (heads, size))
    self.out = parameter(self, "out", out_initializer, ("heads", "key", "embed"), (heads, size, d), config.dtype)

  def __call__(self, x: jax.Array, attendance: Attendance) -> jax.Array:
    """A window in training, [B, L, d] -> [B, L, d]."""
    content_query, distance_query, key, value = self._project(x)
    relative_key = self.relative_keys(attendance.distances)
    length = x.shape[1]
    block = self.config.attention_block or length
    mixed = []
    for start in range(0, length, block):  # keys after a block's last query are never touched
      queries, end = slice(start, start + block), min(start + block, length)
      scores = _product("hblk,hbmk->hblm", content_query[:, :, queries], key[:, :, :end])
      relative = _product("hblk,hmk->hblm", distance_query[:, :, queries], relative_key[:, -(end + 1) :])
      scores = jnp.where(attendance.own[:, queries, :end], scores + _shift(relative, start), _MASKED)
      weights = jax.nn.softmax(scores, axis=-1).astype(x.dtype)
      self.sow("attention", "weights", weights)  # kept where a caller asks for the collection: interpret/states.py
      mixed.append(jnp.einsum("hblm,hbmk->hblk", weights, value[:, :, :end]))
    return jnp.einsum("hblk,hkd->bld", jnp.concatenate(mixed, axis=2), self.out.astype(x.dtype))

  def recall(
    self, x: jax.Array, memory: LayerMemory, own: tuple[jax.Array, jax.Array], at: int | jax.Array, recall: Recall
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Acting: positions at .. at + L - 1 of this step, [B, L, d] -> [B, L, d] and `own` with their keys and values.

    Args:
      own: keys and values [B, H, M, K] of this step's positions.
    """
    # Rows first, as the memory lies: otherwise the compiler would turn all of it round.
    content_query, distance_query, *new = (part.swapaxes(0, 1) for part in self._project(x, as_matrix=True))
    own_key, own_value = (
      jax.lax.dynamic_update_slice_in_dim(buffer, fresh, at, axis=2) for buffer, fresh in zip(own, new, strict=True)
    )
    content = [_product("bhlk,bhmk->bhlm", content_query, keys) for keys in (memory.keys, own_key)]
    relative = _product("bhlk,hmk->bhlm", distance_query, memory.relative_keys)
    relative = jnp.take_along_axis(relative, recall.index[:, None], axis=-1)
    scores = jnp.where(recall.seen[:, None], jnp.concatenate(content, axis=-1) + relative, _MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(x.dtype)
    slots = memory.keys.shape[2]
    mixed = jnp.einsum("bhlm,bhmk->bhlk", weights[..., :slots], memory.values)
    mixed += jnp.einsum("bhlm,bhmk->bhlk", weights[..., slots:], own_value)
    mixed = mixed.swapaxes(1, 2).reshape(*x.shape[:2], -1)
    return mixed @ self.out.reshape(-1, x.shape[-1]).astype(x.dtype), (own_key, own_value)

  def relative_keys(self, distances: jax.Array) -> jax.Array:
    """Sinusoids [D, d] -> the keys of these distances, [H, D, K]."""
    dtype = jnp.dtype(self.config.dtype)
    return jnp.einsum("md,dhk->hmk", distances.astype(dtype), self.distance.astype(dtype))

  def _project(self, x: jax.Array, as_matrix: bool = False) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """[B, L, d] -> content queries, distance queries, keys, values, all [H, B, L, K]."""
    dtype = x.dtype
    query, key, value = _times(x, self.qkv, as_matrix).transpose(2, 3, 0, 1, 4)
    scale = self.config.key_size**-0.5
    content_query = (query + self.content_bias.astype(dtype)[:, None, None]) * scale
    distance_query = (query + self.distance_bias.astype(dtype)[:, None, None]) * scale
    return content_query, distance_query, key, value


def _times(x: jax.Array, weight: jax.Array, as_matrix: bool) -> jax.Array:
  """[B, L, d] x [d, ...] -> [B, L, ...].

  Args:
    as_matrix: one product of two matrices. Acting stores its weights so; without it TPUs turn weights round in each
      step. Training shards the weight's axes, which a matrix would not keep apart.
  """
  weight = weight.astype(x.dtype)
  if not as_matrix:
    return jnp.tensordot(x, weight, 1)
  return (x @ weight.reshape(len(weight), -1)).reshape(*x.shape[:-1], *weight.shape[1:])


def _product(equation: str, a: jax.Array, b: jax.Array) -> jax.Array:
  return jnp.einsum(equation, a, b, preferred_element_type=jnp.float32)


class FeedForward(nn.Module):
  """GEGLU (Shazeer 2020): d x F in, one half gates the other, F/2 x d out."""

  config: GatoConfig

  @nn.compact
  def __call__(self, x: jax.Array, as_matrix: bool = False) -> jax.Array:
    config = self.config
    half = config.feed_forward // 2
    in_projection = nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal", in_axis=0, out_axis=(1, 2))
    wide = parameter(self, "in", in_projection, ("embed", "qkv", "mlp"), (config.width, 2, half), config.dtype)
    out_initializer = nn.initializers.variance_scaling(0.5 / config.layers, "fan_in", "truncated_normal")
    out = parameter(self, "out", out_initializer, ("mlp", "embed"), (half, config.width), config.dtype)
    gate, value = jnp.moveaxis(_times(x, wide, as_matrix), 2, 0)
    return (nn.gelu(gate) * value) @ out.astype(x.dtype)


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

  def setup(self):
    self.attention_norm = LayerNorm()
    self.attention = RelativeAttention(self.config)
    self.feed_forward_norm = LayerNorm()
    self.feed_forward = FeedForward(self.config)

  def __call__(self, x: jax.Array, attendance: Attendance, rows: jax.Array | None) -> tuple[jax.Array, None]:
    x += self._drop(self.attention(self.attention_norm(x), attendance), rows)
    x += self._drop(self.feed_forward(self.feed_forward_norm(x)), rows)
    return x, None

  def recall(self, x: jax.Array, *past) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Acting: as `RelativeAttention.recall`."""
    mixed, own = self.attention.recall(self.attention_norm(x), *past)
    x += mixed
    return x + self.feed_forward(self.feed_forward_norm(x), as_matrix=True), own

  def relative_keys(self, distances: jax.Array) -> jax.Array:
    return self.attention.relative_keys(distances)

  def _drop(self, x: jax.Array, rows: jax.Array | None) -> jax.Array:
    """Dropout, and skips a sub-layer for a row with probability drop_path (Huang et al. 2016); kept ones are scaled up.

    A row draws from a key of its own number, so the draw does not depend on how the batch lies over devices.
    """
    for rate, shape in ((self.config.dropout, x.shape[1:]), (self.config.drop_path, (1, 1))):
      if rows is not None and rate:
        keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("train"), rows)
        keep = jax.vmap(lambda key, rate=rate, shape=shape: jax.random.bernoulli(key, 1.0 - rate, shape))(keys)
        x = jnp.where(keep, x / (1.0 - rate), 0.0).astype(x.dtype)
    return x


class Decoder(nn.Module):
  """All blocks and the final norm. Parameters of the blocks are stacked along a first axis `layers`."""

  config: GatoConfig

  @nn.compact
  def __call__(self, x: jax.Array, attendance: Attendance, rows: jax.Array | None = None) -> jax.Array:
    """[B, L, d] -> [B, L, d]. `rows`: int32 [B], their numbers in the global batch; None: no stochastic depth."""
    config = self.config
    block = Block
    if config.remat != "none":
      policy = jax.checkpoint_policies.checkpoint_dots_with_no_batch_dims if config.remat == "dots" else None
      block = nn.remat(Block, prevent_cse=not config.scan_layers, policy=policy)
    stack = nn.scan(
      block,
      variable_axes={"params": 0, "intermediates": 0, "attention": 0},
      split_rngs={"params": True, "train": True},
      in_axes=(nn.broadcast, nn.broadcast),
      length=config.layers,
      unroll=1 if config.scan_layers else config.layers,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    x, _ = stack(config, name="layers")(x, attendance, rows)
    return LayerNorm(name="final_norm")(x)
