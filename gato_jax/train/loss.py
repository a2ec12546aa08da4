"""Masked next-token loss whose logits exist only at target positions, a few hundred at a time.

Most positions of a control window are no targets and the vocabulary has 33,025 entries, so the [B, L, V] logits are
never formed. The gradient is computed together with the loss, chunk by chunk: no logits are kept or computed twice.

Shapes: B rows, L positions, n = B * (L - 1) predicting positions, V vocabulary, d width.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp


def next_token_loss(
  hidden: jax.Array, table: jax.Array, batch: Mapping[str, jax.Array], components: int, chunk: int
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Mean over all targets of -log p(token | the position before it) (Reed et al. 2022, equation 2).

  Args:
    hidden: [B, L, d], in the dtype of the products.
    table: float32 [V, d], the tied output projection.
    batch: docs/batch.md.
    components: number of components of the mixture.
    chunk: positions whose logits exist at one time.

  Returns:
    The loss, and float32 [components] sums and counts of the targets of each component.
  """
  mask = batch["targets"][:, 1:].reshape(-1)
  count = mask.sum()
  order = jnp.argsort(~mask, stable=True)  # targets first
  order = jnp.pad(order, (0, -len(order) % chunk), mode="edge")
  is_target = jnp.arange(len(order)) < count
  labels = batch["tokens"][:, 1:].reshape(-1)[order]
  rows = hidden[:, :-1].reshape(-1, hidden.shape[-1])[order]
  total, per_position = _cross_entropy(rows, table.astype(hidden.dtype), labels, is_target, chunk)
  component = jnp.repeat(batch["components"], batch["tokens"].shape[1] - 1)[order]
  sums = jnp.zeros(components).at[component].add(per_position)
  counts = jnp.zeros(components).at[component].add(is_target.astype(jnp.float32))
  return total / jnp.maximum(count, 1), {"component_sums": sums, "component_counts": counts}


@functools.partial(jax.custom_vjp, nondiff_argnums=(4,))
def _cross_entropy(rows, table, labels, is_target, chunk):
  """[n, d], [V, d], [n], bool [n] with all True first -> the sum over targets, and float32 [n] (0 for no target)."""
  return _by_chunks(rows, table, labels, is_target, chunk, gradient=False)[0]


def _forward(rows, table, labels, is_target, chunk):
  return _by_chunks(rows, table, labels, is_target, chunk, gradient=True)


def _backward(chunk, gradients, cotangents):
  del chunk
  d_rows, d_table = gradients
  scale = cotangents[0]  # per-position values are for logging: no gradient flows through them
  return (d_rows * scale).astype(d_rows.dtype), (d_table * scale).astype(d_rows.dtype), None, None


def _by_chunks(rows, table, labels, is_target, chunk, gradient):
  """Loops over as many chunks as hold targets; -> (sum, per position), (d sum / d rows, d sum / d table) or None."""

  product = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)

  def body(i, carry):
    values, gradients = carry
    cut = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=i * chunk, slice_size=chunk)
    h, label, weight = cut(rows), cut(labels), cut(is_target).astype(jnp.float32)[:, None]
    logits = product("nd,vd->nv", h, table)
    top = logits.max(axis=-1, keepdims=True)
    exponentials = jnp.exp(logits - top)
    total = exponentials.sum(axis=-1, keepdims=True)
    right = jnp.take_along_axis(logits, label[:, None], axis=-1)
    loss = ((top + jnp.log(total) - right) * weight)[:, 0]
    values = jax.lax.dynamic_update_slice_in_dim(values, loss, i * chunk, 0)
    if gradient:
      # d loss / d logits = exponentials / total - one-hot. The division and the one-hot are done on [n, d], not [n, V].
      d_rows, d_table = gradients
      exponentials = exponentials.astype(table.dtype)
      d_h = (product("nv,vd->nd", exponentials, table) / total - table[label]) * weight
      d_rows = jax.lax.dynamic_update_slice_in_dim(d_rows, d_h.astype(rows.dtype), i * chunk, 0)
      d_table += product("nv,nd->vd", exponentials, (h * (weight / total)).astype(table.dtype))
      d_table = d_table.at[label].add(-h * weight)
      gradients = d_rows, d_table
    return values, gradients

  empty = (jnp.zeros_like(rows), jnp.zeros(table.shape, jnp.float32)) if gradient else None
  chunks = (is_target.sum() + chunk - 1) // chunk
  values, gradients = jax.lax.fori_loop(0, chunks, body, (jnp.zeros(len(labels)), empty))
  return (values.sum(), values), gradients


_cross_entropy.defvjp(_forward, _backward)
