"""Masked next-token loss whose logits exist only at target positions, a few hundred at a time.

Most positions of a control window are no targets and the vocabulary has up to 33,025 entries, so
the [B, L, V] logits are never formed. The gradient is computed together with the loss, chunk by
chunk: no logits are kept or computed twice.

Every device works on the targets of its own rows. Devices along the mesh axis "model" have the same
rows and share their targets. The loop over chunks needs no communication.

Shapes: B rows of a device, L positions, P = B * (L - 1) predicting positions, N of them on one
device along "model" (padded), C positions of a chunk, V vocabulary, D width.
"""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gato_jax.model import sharding
from gato_jax.tokens import vocabulary


def next_token_loss(
  hidden: jax.Array, table: jax.Array, batch: Mapping[str, jax.Array], components: int, chunk: int
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Returns the sum over all targets of -log p(target | its prefix).

  This is equation 2 of Reed et al. 2022. It is called under `jax.set_mesh`; the caller sums over
  the mesh axes of the batch.

  Args:
    hidden: [B, L, D], in the dtype of the products.
    table: float32 [V, D], the tied output projection.
    batch: See docs/batch.md.
    components: Number of components of the mixture.
    chunk: Positions per device whose logits exist at one time.

  Returns:
    The sum, and a mapping with component_sums and component_counts, float32 [components]: the sum
    and the number of the targets of each component.
  """
  total, sums, counts = _loss_sums(components, chunk, hidden, table, batch)
  return total, {"component_sums": sums, "component_counts": counts}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _loss_sums(components, chunk, hidden, table, batch):
  """Returns (sum, sums of components, counts of components)."""
  sums, _ = _share_targets(
    hidden, table, batch, components=components, chunk=chunk, with_gradients=False
  )
  return sums


def _loss_sums_forward(components, chunk, hidden, table, batch):
  return _share_targets(
    hidden, table, batch, components=components, chunk=chunk, with_gradients=True
  )


def _loss_sums_backward(components, chunk, gradients, cotangents):
  del components, chunk
  d_hidden, d_table = gradients

  # The sums of components are for logging: no gradient flows through them.
  scale = cotangents[0]
  return (d_hidden * scale).astype(d_hidden.dtype), d_table * scale, None


_loss_sums.defvjp(_loss_sums_forward, _loss_sums_backward)


def _share_targets(
  hidden: jax.Array,
  table: jax.Array,
  batch: Mapping[str, jax.Array],
  *,
  components: int,
  chunk: int,
  with_gradients: bool,
) -> tuple[tuple[jax.Array, ...], Any]:
  """Computes the loss with the targets shared among the devices along "model".

  Returns:
    (sum, sums of components, counts of components), and the gradients of the sum by `hidden` and
    `table`, or None.
  """
  compute = functools.partial(
    _device_sums, components=components, chunk=chunk, with_gradients=with_gradients
  )
  replicated = PartitionSpec()
  batch = {name: batch[name] for name in ("labels", "targets", "components")}

  return jax.shard_map(compute, in_specs=replicated, out_specs=replicated, axis_names={"model"})(
    hidden, table, batch
  )


def _device_sums(
  hidden_BxLxD: jax.Array,
  table_VxD: jax.Array,
  batch: Mapping[str, jax.Array],
  *,
  components: int,
  chunk: int,
  with_gradients: bool,
) -> tuple[tuple[jax.Array, ...], Any]:
  """Computes this device's share of the targets; returns sums over "model", as `_share_targets`."""
  devices = jax.lax.axis_size("model")
  # Position l predicts the token at l + 1, so labels and targets lack the first position and hidden
  # lacks the last one.
  hidden_PxD = hidden_BxLxD[:, :-1].reshape(-1, hidden_BxLxD.shape[-1])
  mask_P = batch["targets"][:, 1:].reshape(-1)

  # Positions with targets come first, so that a loop may end after them. Padding repeats the last
  # position; the padded length is a multiple of the chunks of all devices.
  order = jnp.argsort(~mask_P, stable=True)
  order = jnp.pad(order, (0, -len(order) % (chunk * devices)), mode="edge")
  is_target = jnp.arange(len(order)) < mask_P.sum()

  def take_own(x: jax.Array) -> jax.Array:
    # Every devices-th element: each device gets as many targets as the others, up to one.
    return x.reshape(-1, devices)[:, jax.lax.axis_index("model")]

  order_N = take_own(order)
  is_target_N = take_own(is_target)
  rows_P = vocabulary.row_of(batch["labels"][:, 1:].reshape(-1), len(table_VxD))

  losses_N, gradients = _chunked_losses(
    hidden_PxD[order_N],
    table_VxD.astype(hidden_PxD.dtype),
    labels_N=rows_P[order_N],
    is_target_N=is_target_N,
    chunk=chunk,
    with_gradients=with_gradients,
  )

  positions_per_row = batch["labels"].shape[1] - 1
  component_N = jnp.repeat(batch["components"], positions_per_row)[order_N]
  sums = jnp.zeros(components).at[component_N].add(losses_N)
  counts = jnp.zeros(components).at[component_N].add(is_target_N.astype(jnp.float32))

  if with_gradients:
    d_hidden_NxD, d_table = gradients
    d_hidden_PxD = jnp.zeros_like(hidden_PxD).at[order_N].add(d_hidden_NxD)
    d_hidden = d_hidden_PxD.reshape(*hidden_BxLxD[:, :-1].shape)
    # The last position predicts nothing: its gradient is 0.
    gradients = jnp.pad(d_hidden, ((0, 0), (0, 1), (0, 0))), d_table

  return jax.lax.psum(((losses_N.sum(), sums, counts), gradients), "model")


def _chunked_losses(
  hidden_NxD: jax.Array,
  table_VxD: jax.Array,
  *,
  labels_N: jax.Array,
  is_target_N: jax.Array,
  chunk: int,
  with_gradients: bool,
) -> tuple[jax.Array, Any]:
  """Computes losses in a loop over as many chunks as hold targets, which come first.

  Args:
    hidden_NxD: N is a multiple of `chunk`.
    table_VxD: In the dtype of `hidden_NxD`.
    labels_N: Row of the token to be predicted at each position.
    is_target_N: False where the loss does not count.
    chunk: Positions per iteration.
    with_gradients: Computes the gradients, too.

  Returns:
    float32 losses_N, 0 where there is no target, and the gradients of their sum by `hidden_NxD` and
    `table_VxD` (float32), or None.
  """
  matmul = functools.partial(jnp.einsum, preferred_element_type=jnp.float32)

  def add_chunk(i, carry):
    losses_N, gradients = carry
    start = i * chunk
    take_chunk = functools.partial(
      jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=chunk
    )
    hidden_CxD = take_chunk(hidden_NxD)
    labels_C = take_chunk(labels_N)
    weight_Cx1 = take_chunk(is_target_N).astype(jnp.float32)[:, None]

    # -log softmax(logits)[label], with the maximum subtracted before the exponentials.
    logits_CxV = matmul("cd,vd->cv", hidden_CxD, table_VxD)
    max_Cx1 = logits_CxV.max(axis=-1, keepdims=True)
    exp_CxV = jnp.exp(logits_CxV - max_Cx1)
    exp_sum_Cx1 = exp_CxV.sum(axis=-1, keepdims=True)
    label_logit_Cx1 = jnp.take_along_axis(logits_CxV, labels_C[:, None], axis=-1)
    losses_C = ((max_Cx1 + jnp.log(exp_sum_Cx1) - label_logit_Cx1) * weight_Cx1)[:, 0]
    losses_N = jax.lax.dynamic_update_slice_in_dim(losses_N, losses_C, start, axis=0)

    if with_gradients:
      # d loss / d logits = exp / exp_sum - one_hot(label). The division and the one-hot are done on
      # [C, D] instead of [C, V].
      d_hidden_NxD, d_table_VxD = gradients
      exp_CxV = exp_CxV.astype(table_VxD.dtype)

      d_hidden_CxD = matmul("cv,vd->cd", exp_CxV, table_VxD) / exp_sum_Cx1 - table_VxD[labels_C]
      d_hidden_CxD = (d_hidden_CxD * weight_Cx1).astype(hidden_NxD.dtype)
      d_hidden_NxD = jax.lax.dynamic_update_slice_in_dim(d_hidden_NxD, d_hidden_CxD, start, axis=0)

      scaled_CxD = (hidden_CxD * (weight_Cx1 / exp_sum_Cx1)).astype(table_VxD.dtype)
      d_table_VxD += matmul("cv,cd->vd", exp_CxV, scaled_CxD)
      d_table_VxD = d_table_VxD.at[labels_C].add(-hidden_CxD * weight_Cx1)
      gradients = d_hidden_NxD, d_table_VxD

    return losses_N, gradients

  losses_N = jnp.zeros(len(labels_N))
  gradients = None
  if with_gradients:
    gradients = jnp.zeros_like(hidden_NxD), jnp.zeros(table_VxD.shape, jnp.float32)

  carry = sharding.vary_like((losses_N, gradients), hidden_NxD)
  chunks_with_targets = (is_target_N.sum() + chunk - 1) // chunk
  return jax.lax.fori_loop(0, chunks_with_targets, add_chunk, carry)
