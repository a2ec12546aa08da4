"""Pre-norm decoder with relative attention and GEGLU (Reed et al. 2022, appendix C.1).

Legend of shapes: B rows, L positions, D width.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gato_jax.model import attention_choice, parametrization
from gato_jax.model.attention import CacheMask, LayerCache, RelativeAttention, WindowMask
from gato_jax.model.config import GatoConfig
from gato_jax.model.parameters import linear, parameter


class FeedForward(nn.Module):
  """GEGLU (Shazeer 2020): D x F in, one half gates the other, F/2 x D out."""

  config: GatoConfig

  @nn.compact
  def __call__(self, x_BxLxD: jax.Array, as_matrix: bool = False) -> jax.Array:
    config = self.config
    half = config.feed_forward // 2

    in_weight = parameter(
      self,
      "in",
      initializer=nn.initializers.variance_scaling(
        1.0, "fan_in", "truncated_normal", in_axis=0, out_axis=(1, 2)
      ),
      axes=("embed", "qkv", "mlp"),
      shape=(config.width, 2, half),
      dtype=config.dtype,
    )
    # Scaled down by the number of sub-layers, as the attention's output.
    out_weight = parameter(
      self,
      "out",
      initializer=nn.initializers.variance_scaling(
        0.5 / config.layers, "fan_in", "truncated_normal"
      ),
      axes=("mlp", "embed"),
      shape=(half, config.width),
      dtype=config.dtype,
    )

    # Two products: the gradient of one, cut in two, would be padded and transposed.
    gate = linear(x_BxLxD, in_weight[:, 0], as_matrix)
    value = linear(x_BxLxD, in_weight[:, 1], as_matrix)
    return (nn.gelu(gate) * value) @ out_weight.astype(x_BxLxD.dtype)


class LayerNorm(nn.Module):
  """Layer norm with scale and bias, as in Transformer-XL; statistics in float32."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    scale = parameter(
      self, "scale", initializer=nn.initializers.ones, axes=("norm",), shape=x.shape[-1:]
    )
    bias = parameter(
      self, "bias", initializer=nn.initializers.zeros, axes=("norm",), shape=x.shape[-1:]
    )

    centred = x.astype(jnp.float32)
    centred -= centred.mean(-1, keepdims=True)
    normal = centred * jax.lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)

    return (normal * scale + bias).astype(x.dtype)


class Block(nn.Module):
  """Attention and feed-forward, each pre-norm, with a residual and stochastic depth."""

  config: GatoConfig

  def setup(self):
    self.attention_norm = LayerNorm()
    self.attention = RelativeAttention(self.config)
    self.feed_forward_norm = LayerNorm()
    self.feed_forward = FeedForward(self.config)

  def __call__(
    self, x_BxLxD: jax.Array, mask: WindowMask, rows: jax.Array | None
  ) -> tuple[jax.Array, None]:
    """Computes a training window; the second result is the empty output of nn.scan's body."""
    attended = self.attention(self.attention_norm(x_BxLxD), mask)
    x_BxLxD += self._drop(attended, rows)
    x_BxLxD += self._drop(self.feed_forward(self.feed_forward_norm(x_BxLxD)), rows)

    return x_BxLxD, None

  def attend_to_cache(
    self,
    x_BxLxD: jax.Array,
    layer_cache: LayerCache,
    step_keys: jax.Array,
    step_values: jax.Array,
    start: int | jax.Array,
    mask: CacheMask,
  ) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    """Computes positions of an acting step; as `RelativeAttention.attend_to_cache`."""
    attended, step_keys_and_values = self.attention.attend_to_cache(
      self.attention_norm(x_BxLxD), layer_cache, step_keys, step_values, start, mask
    )
    x_BxLxD += attended
    x_BxLxD += self.feed_forward(self.feed_forward_norm(x_BxLxD), as_matrix=True)

    return x_BxLxD, step_keys_and_values

  def relative_keys(self, distances: jax.Array) -> jax.Array:
    """Projects sinusoids of distances [R, D] to the attention's keys of them [H, R, K]."""
    return self.attention.relative_keys(distances)

  def _drop(self, x_BxLxD: jax.Array, rows: jax.Array | None) -> jax.Array:
    """Applies dropout and stochastic depth to the output of a sub-layer.

    Stochastic depth skips the sub-layer for a row with probability drop_path (Huang et al. 2016).
    What is kept is scaled up, so that its mean stays.

    Args:
      x_BxLxD: Output of the sub-layer.
      rows: Int32 [B], numbers of the rows in the global batch; None drops nothing.
    """
    dropout = (self.config.dropout, x_BxLxD.shape[1:])
    stochastic_depth = (self.config.drop_path, (1, 1))

    for rate, shape in (dropout, stochastic_depth):
      if rows is None or not rate:
        continue

      # A row's key is folded from its number in the global batch, so the draw does not depend on
      # how the batch is spread over devices.
      keys = jax.vmap(jax.random.fold_in, (None, 0))(self.make_rng("train"), rows)
      keep = jax.vmap(
        lambda key, rate=rate, shape=shape: jax.random.bernoulli(key, 1.0 - rate, shape)
      )(keys)
      x_BxLxD = jnp.where(keep, x_BxLxD / (1.0 - rate), 0.0).astype(x_BxLxD.dtype)

    return x_BxLxD


class Decoder(nn.Module):
  """All blocks and the final norm.

  The parameters of the blocks are stacked along a first axis `layers`.
  """

  config: GatoConfig

  @nn.compact
  def __call__(
    self, x_BxLxD: jax.Array, mask: WindowMask, rows: jax.Array | None = None
  ) -> jax.Array:
    """Computes a training window, [B, L, D] -> [B, L, D].

    Args:
      x_BxLxD: Input vectors.
      mask: Attention mask of the window.
      rows: Int32 [B], numbers of the rows in the global batch; None: no stochastic depth.
    """
    config = self.config
    block = Block

    if config.remat != "none":
      # A fused attention is not computed again: its output is no larger than a block's input, and
      # the sums of its softmaxes are one number a query and head.
      policies = jax.checkpoint_policies
      policy = policies.save_only_these_names(attention_choice.OUTPUT, attention_choice.LOG_SUM)
      if config.remat == "dots":
        policy = policies.save_from_both_policies(
          policy, policies.checkpoint_dots_with_no_batch_dims
        )
      # Inside a compiled loop nothing can be merged with the forward pass, so CSE may stay on.
      block = nn.remat(Block, prevent_cse=not config.scan_layers, policy=policy)

    # Inlined layers are a scan that is unrolled completely, so the parameter tree is the same.
    stack = nn.scan(
      block,
      variable_axes={"params": 0, "intermediates": 0, "attention": 0},
      split_rngs={"params": True, "train": True},
      in_axes=(nn.broadcast, nn.broadcast),
      length=config.layers,
      unroll=1 if config.scan_layers else config.layers,
      metadata_params={nn.PARTITION_NAME: "layers"},
    )
    x_BxLxD, _ = stack(config, name="layers")(x_BxLxD, mask, rows)

    return LayerNorm(name="final_norm")(x_BxLxD) * parametrization.output_scale(config)
