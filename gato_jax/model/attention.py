"""Attention with relative positions, over training windows and over the KV cache (Dai et al. 2019).

Legend of shapes:
  B: rows of the batch
  L: queries, the positions of the input
  H: heads
  K: key size
  D: width of the residual stream
  R: distances
  N: entries of a row's KV cache
  M: positions of an acting step

Scores are [H, B, queries, keys] in a training window and [B, H, queries, keys] against the KV
cache.
"""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.model import attention_choice, parametrization
from gato_jax.model.biased_attention import biased_attention
from gato_jax.model.config import GatoConfig
from gato_jax.model.parameters import linear, parameter

# Large and finite: a row of -inf alone would become NaN in the softmax.
_MASKED = -1e30


@flax.struct.dataclass
class WindowMask:
  """Attention mask of a training window, the same in every layer.

  Attributes:
    visible: Bool [B, L, L], True where a query attends to a key.
    distances: Float32 [L + 1, D], `distance_table` of the distances L - 1 .. 0 and -1.
    codes: Int32 [B, C, L], what `visible` is made of (visibility.py), for fused attention. Without
      them attention is the plain one.
  """

  visible: jax.Array
  distances: jax.Array
  codes: jax.Array | None = None


@flax.struct.dataclass
class CacheMask:
  """Attention mask of an acting step, the same in every layer.

  The keys are the N entries of the KV cache, then the M positions of this step.

  Attributes:
    visible: Bool [B, L, N + M], True where a query attends to a key. No query's row is empty.
    distance_index: Int32 [B, L, N + M], the row of the relative keys; arbitrary where not visible.
  """

  visible: jax.Array
  distance_index: jax.Array


@flax.struct.dataclass
class LayerCache:
  """Keys and values of earlier steps in one layer.

  Attributes:
    keys: [B, H, N, K].
    values: [B, H, N, K].
    relative_keys: [H, R, K], keys of the distances. They depend on the parameters only.
  """

  keys: jax.Array
  values: jax.Array
  relative_keys: jax.Array


def distance_table(largest: int, width: int) -> jax.Array:
  """Returns sinusoids of the distances largest, ..., 1, 0, -1.

  Args:
    largest: Largest distance.
    width: Numbers per distance, even.

  Returns:
    Float32 [largest + 2, width]. Distance -1 is the padding that `_relative_shift` needs.
  """
  distances = np.arange(largest, -2, -1, dtype=np.float64)
  frequencies = 1.0 / 10_000 ** (np.arange(0, width, 2) / width)
  angles = distances[:, None] * frequencies

  sinusoids = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
  return jnp.asarray(sinusoids, jnp.float32)


def _relative_shift(scores: jax.Array, start: int) -> jax.Array:
  """Aligns scores by distance with the keys that lie at these distances.

  Args:
    scores: [H, B, l, k + 1], for each of l queries the scores of the distances k-1, ..., 0, -1.
      The first two axes may be any.
    start: Position of the first query; the first key is at position 0.

  Returns:
    [H, B, l, k], the score of distance start + i - j at [.., i, j]. Entries of later keys,
    j > start + i, are arbitrary and must be masked.
  """
  heads, rows, queries, columns = scores.shape
  keys = columns - 1

  # Distance start + i - j is column k - 1 - (start + i - j) of row i. In the flattened array of
  # rows of k + 1 columns that is element
  #   i (k + 1) + k - 1 - start - i + j  =  (k - 1 - start) + i k + j,
  # which is element [i, j] of rows of k columns that begin at k - 1 - start. So the shift is a
  # slice and a reshape: no gather and no padding.
  flat = scores.reshape(heads, rows, queries * columns)
  first = keys - 1 - start
  shifted = flat[:, :, first : first + queries * keys]

  return shifted.reshape(heads, rows, queries, keys)


class RelativeAttention(nn.Module):
  """Multi-head attention with content and distance terms (Dai et al. 2019, section 3.3)."""

  config: GatoConfig

  def setup(self):
    config = self.config
    width, heads, key_size = config.width, config.heads, config.key_size
    zeros = nn.initializers.zeros

    self.qkv = parameter(
      self,
      "qkv",
      initializer=nn.initializers.variance_scaling(
        1.0, "fan_in", "truncated_normal", in_axis=0, out_axis=(1, 2, 3)
      ),
      axes=("embed", "qkv", "heads", "key"),
      shape=(width, 3, heads, key_size),
      dtype=config.dtype,
    )
    self.distance = parameter(
      self,
      "distance",
      initializer=nn.initializers.variance_scaling(1.0, "fan_in", "truncated_normal"),
      axes=("embed", "heads", "key"),
      shape=(width, heads, key_size),
      dtype=config.dtype,
    )
    self.content_bias = parameter(
      self, "content_bias", initializer=zeros, axes=("heads", "key"), shape=(heads, key_size)
    )
    self.distance_bias = parameter(
      self, "distance_bias", initializer=zeros, axes=("heads", "key"), shape=(heads, key_size)
    )
    # All 2 x layers sub-layers add to the residual stream, so each starts with its share of a
    # variance of about 1.
    self.out = parameter(
      self,
      "out",
      initializer=nn.initializers.variance_scaling(
        0.5 / config.layers, "fan_in", "truncated_normal", in_axis=(0, 1), out_axis=2
      ),
      axes=("heads", "key", "embed"),
      shape=(heads, key_size, width),
      dtype=config.dtype,
    )

  def __call__(self, x_BxLxD: jax.Array, mask: WindowMask) -> jax.Array:
    """Attends within a training window, [B, L, D] -> [B, L, D]."""
    # Parameters do not depend on it, and the window that makes them may be too short for others.
    if mask.codes is not None and not self.is_initializing():
      match attention_choice.implementation(self.config, x_BxLxD.shape[1]):
        case "pallas":
          return self._attend_in_tiles(x_BxLxD, mask.codes, mask.distances)
        case "cudnn":
          return self._attend_with_bias(x_BxLxD, mask)

    content_q_HxBxLxK, distance_q_HxBxLxK, k_HxBxLxK, v_HxBxLxK = self._project(x_BxLxD)
    relative_k_HxRxK = self.relative_keys(mask.distances)

    length = x_BxLxD.shape[1]
    block = attention_choice.query_block(self.config, length)
    mixed_blocks = []

    for start in range(0, length, block):
      end = min(start + block, length)
      queries = slice(start, start + block)

      # The mask is causal, so keys after the block's last query are left out. The largest distance
      # left is end - 1: distances end - 1, ..., 0, -1 are the last end + 1 relative keys.
      content_scores = _scores(
        "hblk,hbmk->hblm", content_q_HxBxLxK[:, :, queries], k_HxBxLxK[:, :, :end]
      )
      distance_scores = _scores(
        "hblk,hmk->hblm", distance_q_HxBxLxK[:, :, queries], relative_k_HxRxK[:, -(end + 1) :]
      )
      scores = jnp.where(
        mask.visible[:, queries, :end],
        content_scores + _relative_shift(distance_scores, start),
        _MASKED,
      )
      weights = jax.nn.softmax(scores, axis=-1).astype(x_BxLxD.dtype)

      # Kept only where a caller asks for this collection: experiments/analysis/interpret/states.py.
      self.sow("attention", "weights", weights)
      mixed_blocks.append(jnp.einsum("hblm,hbmk->hblk", weights, v_HxBxLxK[:, :, :end]))

    mixed_HxBxLxK = jnp.concatenate(mixed_blocks, axis=2)
    return jnp.einsum("hblk,hkd->bld", mixed_HxBxLxK, self.out.astype(x_BxLxD.dtype))

  def _attend_in_tiles(
    self, x_BxLxD: jax.Array, codes_BxCxL: jax.Array, distances: jax.Array
  ) -> jax.Array:
    """Attends with the Pallas kernel, which takes all heads of a position in one row."""
    # Pallas takes a while to import, and most processes have no TPU.
    from gato_jax.model import relative_flash

    # Three products of matrices: the kernel would need copies of the parts of one, or of axes that
    # are laid out otherwise.
    q, k, v = (linear(x_BxLxD, self.qkv[:, part], as_matrix=True) for part in range(3))
    # The kernel divides scores by the square root of the key size.
    factor = parametrization.query_factor(self.config)

    # Without the padding at distance -1.
    distances = distances[:-1].astype(x_BxLxD.dtype)
    relative_k = linear(distances[None], self.distance, as_matrix=True)[0]

    rows, length, _ = x_BxLxD.shape
    mixed = relative_flash.attention(
      relative_flash.Inputs(
        codes=codes_BxCxL,
        content_bias=factor * self.content_bias.reshape(1, -1),
        distance_bias=factor * self.distance_bias.reshape(1, -1),
        q=factor * q.reshape(rows, length, -1),
        k=k.reshape(rows, length, -1),
        v=v.reshape(rows, length, -1),
        relative_k=relative_k.reshape(length, -1),
      ),
      self.config.key_size,
    )
    return mixed @ self.out.reshape(mixed.shape[-1], -1).astype(x_BxLxD.dtype)

  def _attend_with_bias(self, x_BxLxD: jax.Array, mask: WindowMask) -> jax.Array:
    """Attends with cuDNN's kernel."""
    content_q_HxBxLxK, distance_q_HxBxLxK, k_HxBxLxK, v_HxBxLxK = self._project(x_BxLxD)

    # In the dtype of the bias: sums are float32 anyway, and a float32 result would be written.
    distance_scores = jnp.einsum(
      "hblk,hmk->bhlm", distance_q_HxBxLxK, self.relative_keys(mask.distances)
    )
    mixed_BxLxHxK = biased_attention(
      content_q_HxBxLxK.transpose(1, 2, 0, 3),
      k_HxBxLxK.transpose(1, 2, 0, 3),
      v_HxBxLxK.transpose(1, 2, 0, 3),
      distance_scores_BxHxLxL=_relative_shift(distance_scores, start=0),
      visible_BxLxL=mask.visible,
    )
    return jnp.einsum("blhk,hkd->bld", mixed_BxLxHxK, self.out.astype(x_BxLxD.dtype))

  def attend_to_cache(
    self,
    x_BxLxD: jax.Array,
    layer_cache: LayerCache,
    step_keys: jax.Array,
    step_values: jax.Array,
    start: int | jax.Array,
    mask: CacheMask,
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Attends to the KV cache and to the positions of this acting step.

    Args:
      x_BxLxD: Inputs of the positions start .. start + L - 1 of this step.
      layer_cache: Keys and values of earlier steps.
      step_keys: [B, H, M, K], keys of this step so far.
      step_values: [B, H, M, K], values of this step so far.
      start: Position in the step of the first input.
      mask: Attention mask over the cache's entries and the step's positions.

    Returns:
      The outputs [B, L, D], and step_keys and step_values with those of the inputs.
    """
    # The batch comes first, as in the cache. With the heads first the compiler would transpose the
    # whole cache in every step.
    content_q_BxHxLxK, distance_q_BxHxLxK, new_k_BxHxLxK, new_v_BxHxLxK = (
      part.swapaxes(0, 1) for part in self._project(x_BxLxD, as_matrix=True)
    )
    step_keys = jax.lax.dynamic_update_slice_in_dim(step_keys, new_k_BxHxLxK, start, axis=2)
    step_values = jax.lax.dynamic_update_slice_in_dim(step_values, new_v_BxHxLxK, start, axis=2)

    # Two products joined afterwards: joining the keys first would copy the cache.
    content_scores = [
      _scores("bhlk,bhmk->bhlm", content_q_BxHxLxK, keys) for keys in (layer_cache.keys, step_keys)
    ]
    distance_scores = _scores("bhlk,hmk->bhlm", distance_q_BxHxLxK, layer_cache.relative_keys)
    distance_scores = jnp.take_along_axis(distance_scores, mask.distance_index[:, None], axis=-1)

    scores = jnp.concatenate(content_scores, axis=-1) + distance_scores
    scores = jnp.where(mask.visible[:, None], scores, _MASKED)
    weights = jax.nn.softmax(scores, axis=-1).astype(x_BxLxD.dtype)

    entries = layer_cache.keys.shape[2]
    mixed_BxHxLxK = jnp.einsum("bhlm,bhmk->bhlk", weights[..., :entries], layer_cache.values)
    mixed_BxHxLxK += jnp.einsum("bhlm,bhmk->bhlk", weights[..., entries:], step_values)

    mixed = mixed_BxHxLxK.swapaxes(1, 2).reshape(*x_BxLxD.shape[:2], -1)
    out = self.out.reshape(-1, x_BxLxD.shape[-1]).astype(x_BxLxD.dtype)
    return mixed @ out, (step_keys, step_values)

  def relative_keys(self, distances: jax.Array) -> jax.Array:
    """Projects sinusoids of distances [R, D] to their keys [H, R, K]."""
    dtype = jnp.dtype(self.config.dtype)
    return jnp.einsum("md,dhk->hmk", distances.astype(dtype), self.distance.astype(dtype))

  def _project(
    self, x_BxLxD: jax.Array, as_matrix: bool = False
  ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Returns content queries, distance queries, keys and values, each [H, B, L, K]."""
    dtype = x_BxLxD.dtype
    qkv_BxLx3xHxK = linear(x_BxLxD, self.qkv, as_matrix)
    query, key, value = qkv_BxLx3xHxK.transpose(2, 3, 0, 1, 4)

    scale = parametrization.attention_scale(self.config)
    content_query = (query + self.content_bias.astype(dtype)[:, None, None]) * scale
    distance_query = (query + self.distance_bias.astype(dtype)[:, None, None]) * scale

    return content_query, distance_query, key, value


def _scores(equation: str, queries: jax.Array, keys: jax.Array) -> jax.Array:
  """Multiplies queries and keys, with float32 results in every dtype."""
  return jnp.einsum(equation, queries, keys, preferred_element_type=jnp.float32)
