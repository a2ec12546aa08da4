"""Attention with the distance term as a bias, for kernels of others that take one: cuDNN's.

Legend of shapes: B rows, L positions, H heads, K key size.
"""

from typing import Literal

import jax
import jax.numpy as jnp

# As jax.nn gives it to cuDNN, which computes differences of such numbers.
_MASKED = -(2.0**41)


def biased_attention(
  content_q_BxLxHxK: jax.Array,
  k_BxLxHxK: jax.Array,
  v_BxLxHxK: jax.Array,
  distance_scores_BxHxLxL: jax.Array,
  visible_BxLxL: jax.Array,
  implementation: Literal["cudnn", "xla"] = "cudnn",
) -> jax.Array:
  """Returns the weighted values [B, L, H, K].

  Args:
    content_q_BxLxHxK: Queries with the content bias, scaled.
    k_BxLxHxK: Keys.
    v_BxLxHxK: Values.
    distance_scores_BxHxLxL: Scores of the distances, query x key; arbitrary where not visible.
    visible_BxLxL: True where a query attends to a key.
    implementation: Of `jax.nn.dot_product_attention`.
  """
  # Segments and causality are in the bias, too. Where a key is masked the bias has no gradient,
  # whatever the kernel says.
  bias = jnp.where(visible_BxLxL[:, None], distance_scores_BxHxLxL, _MASKED)

  return jax.nn.dot_product_attention(
    content_q_BxLxHxK,
    k_BxLxHxK,
    v_BxLxHxK,
    bias=bias.astype(content_q_BxLxHxK.dtype),
    scale=1.0,
    implementation=implementation,
  )
