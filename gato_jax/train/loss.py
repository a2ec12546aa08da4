"""Masked next-token loss whose logits exist only at target positions, a few hundred at a time.

Most positions of a control window are no targets and the vocabulary has 33,025 entries, so the [B, L, V] logits are
never formed. The gradient is computed together with the loss, chunk by chunk: no logits are kept or computed twice.

Every device works through the targets of its own rows; those of one data x fsdp place are dealt out along `model`. The
loops need no communication.

Shapes: B rows, L positions, n = B * (L - 1) predicting positions, V vocabulary, d width; inside, B is a device's rows.
"""

import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec


def next_token_loss(
  hidden: jax.Array, table: jax.Array, batch: Mapping[str, jax.Array], components: int, chunk: int
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Sum over all targets of -log p(label | the position before it) (Reed et al. 2022, equation 2).

  To be called under `jax.set_mesh`; over the batch's mesh axes the caller sums.

  Args:
    hidden: [B, L, d], in the dtype of the products.
    table: float32 [V, d], the tied output projection.
    batch: docs/batch.md.
    components: number of components of the mixture.
    chunk: positions of a device whose logits exist at one time.

  Returns:
    The sum, and float32 [components] sums and counts of the targets of each component.
  """
  total, sums, counts = _summed(components, chunk, hidden, table, batch)
  return total, {"component_sums": sums, "component_counts": counts}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _summed(components, chunk, hidden, table, batch):
  return _shared(components, chunk, False, hidden, table, batch)[0]


def _forward(components, chunk, hidden, table, batch):
  return _shared(components, chunk, True, hidden, table, batch)


def _backward(components, chunk, gradients, cotangents):
  del components, chunk
  d_hidden, d_table = gradients
  scale = cotangents[0]  # sums by component are for logging: no gradient flows through them
  return (d_hidden * scale).astype(d_hidden.dtype), d_table * scale, None


_summed.defvjp(_forward, _backward)


def _shared(components, chunk, gradient, hidden, table, batch):
  """Deals the targets out along `model`; -> (sum, component sums, component counts), gradients or None."""
  compute = functools.partial(_share, components, chunk, gradient)
  whole = PartitionSpec()
  batch = {name: batch[name] for name in ("labels", "targets", "components")}
  return jax.shard_map(compute, in_specs=whole, out_specs=whole, axis_names={"model"})(hidden, table, batch)


def _share(components, chunk, gradient, hidden, table, batch):
  """One device's share of the rows' targets; -> the sums over `model`, as `_shared`."""
  mask = batch["targets"][:, 1:].reshape(-1)
  shares = jax.lax.axis_size("model")
  order = jnp.argsort(~mask, stable=True)  # targets first
  order = jnp.pad(order, (0, -len(order) % (chunk * shares)), mode="edge")
  is_target = jnp.arange(len(order)) < mask.sum()

  def mine(positions: jax.Array) -> jax.Array:
    return positions.reshape(-1, shares)[:, jax.lax.axis_index("model")]

  order, is_target = mine(order), mine(is_target)
  labels = batch["labels"][:, 1:].reshape(-1)[order]
  flat = hidden[:, :-1].reshape(-1, hidden.shape[-1])
  per_position, gradients = _by_chunks(flat[order], table.astype(flat.dtype), labels, is_target, chunk, gradient)
  component = jnp.repeat(batch["components"], batch["labels"].shape[1] - 1)[order]
  sums = jnp.zeros(components).at[component].add(per_position)
  counts = jnp.zeros(components).at[component].add(is_target.astype(jnp.float32))
  if gradient:
    d_rows, d_table = gradients
    d_hidden = jnp.zeros_like(flat).at[order].add(d_rows).reshape(*hidden[:, :-1].shape)
    gradients = jnp.pad(d_hidden, ((0, 0), (0, 1), (0, 0))), d_table
  return jax.lax.psum(((per_position.sum(), sums, counts), gradients), "model")


def _by_chunks(rows, table, labels, is_target, chunk, gradient):
  """Loops over as many chunks as hold targets, which come first.

  [n, d], [V, d], [n], bool [n] -> losses float32 [n] (0: no target), their sum's gradients by rows and table, or None.
  """

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

  values = jnp.zeros(len(labels))
  empty = (jnp.zeros_like(rows), jnp.zeros(table.shape, jnp.float32)) if gradient else None
  # Zeros are the same on every device; what the loop adds is not, and a loop's carry keeps its type.
  varying = jax.typeof(rows).manual_axis_type.varying
  start = jax.tree.map(
    lambda x: jax.lax.pcast(x, tuple(varying - jax.typeof(x).manual_axis_type.varying), to="varying"), (values, empty)
  )
  chunks = (is_target.sum() + chunk - 1) // chunk
  values, gradients = jax.lax.fori_loop(0, chunks, body, start)
  return values, gradients
