"""Reads the residual stream and the first layer's attention of `Gato` itself.

Flax can return intermediate values of a call, so the network is the one that trains.

Legend: B rows, L positions, N samples, S states per sample (its poolings), H heads, D width.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.analysis.interpret import samples
from experiments.analysis.interpret.rows import LAST, STEP
from gato_jax.model import Gato, GatoConfig
from gato_jax.model.embedding import Embedding
from gato_jax.model.transformer import Block

_BATCH = 32


def streams(config: GatoConfig, params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
  """Returns the residual stream of a batch (docs/batch.md), [layers + 1, B, L, D].

  The first entry is the output of the embedding, the others are those of the blocks.
  """

  def is_captured(module: Any, method: str) -> bool:
    return isinstance(module, Embedding | Block) and method == "__call__"

  _, variables = Gato(_without_optimizations(config)).apply(
    {"params": params},
    batch,
    mutable=["intermediates"],
    capture_intermediates=is_captured,
  )
  captured = variables["intermediates"]

  # Flax keeps a tuple with one entry per call. Blocks are scanned: one call, with a layer axis.
  (embedded_BxLxD,) = captured["embedding"]["__call__"]
  ((blocks_NxBxLxD, _),) = captured["decoder"]["layers"]["__call__"]

  return jnp.concatenate([embedded_BxLxD[None], blocks_NxBxLxD])


def first_attention(config: GatoConfig, params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
  """Returns the first layer's attention weights, float [B, H, L, L], query x key.

  Only that layer is computed.
  """
  first = jax.tree.map(lambda leaf: leaf[:1], params["decoder"]["layers"])
  params = {**params, "decoder": {**params["decoder"], "layers": first}}
  network = Gato(dataclasses.replace(_without_optimizations(config), layers=1))
  _, variables = network.apply({"params": params}, batch, mutable=["attention"])

  # [layers, H, B, L, L], of the one layer.
  (weights,) = variables["attention"]["decoder"]["layers"]["attention"]["weights"]
  return weights[0].swapaxes(0, 1)


def _without_optimizations(config: GatoConfig) -> GatoConfig:
  """Returns a config of the same function that computes all queries at once and nothing twice.

  Captured values are complete only then.
  """
  return dataclasses.replace(
    config, remat="none", attention="xla", attention_block=0, scan_layers=True
  )


def poolings(tokens: Sequence[int]) -> list[str]:
  """Returns the names of a sample's states, for InterpretConfig.tokens."""
  return [f"{n} tokens" for n in tokens] or [LAST, STEP]


def positions(sample: samples.Sample, tokens: Sequence[int]) -> list[np.ndarray]:
  """Returns the positions that each state is the mean of, in the order of `poolings`.

  A sample that is shorter than n tokens gives all that it has.
  """
  if tokens:
    return [sample.read[:n] for n in tokens]

  observation = sample.observation
  return [observation[-1:], observation]


def pooled(
  config: GatoConfig,
  params: Any,
  drawn: Sequence[samples.Sample],
  tokens: Sequence[int],
  on_samples: Callable[[int], Any] = lambda n: None,
) -> np.ndarray:
  """Returns the states of every sample after each layer, float32 [layers + 1, S, N, D].

  Args:
    config: Of the network.
    params: Of the network.
    drawn: The samples.
    tokens: InterpretConfig.tokens.
    on_samples: Called after each batch with its number of samples.
  """
  num_states = len(poolings(tokens))
  results = []
  start = 0
  for batch in samples.batches(drawn, _BATCH):
    batch_samples = drawn[start : start + _BATCH]

    # A mean over some positions is a weighted sum over all of them.
    weights_SxBxL = np.zeros([num_states, *batch["kinds"].shape], np.float32)
    for row, sample in enumerate(batch_samples):
      for state, indices in enumerate(positions(sample, tokens)):
        weights_SxBxL[state, row, indices] = 1 / len(indices)

    states = np.asarray(_pool(config, params, batch, weights_SxBxL))
    # The last batch is filled up with empty rows.
    results.append(states[:, :, : len(batch_samples)])
    start += _BATCH
    on_samples(len(batch_samples))

  return np.concatenate(results, axis=2)


@functools.partial(jax.jit, static_argnums=0)
def _pool(
  config: GatoConfig, params: Any, batch: Mapping[str, jax.Array], weights_SxBxL: jax.Array
) -> jax.Array:
  """Returns [layers + 1, S, B, D]."""
  streams_NxBxLxD = streams(config, params, batch).astype(jnp.float32)
  return jnp.einsum("nbld,sbl->nsbd", streams_NxBxLxD, weights_SxBxL)
