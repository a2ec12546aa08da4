"""The residual stream and the first layer's attention of `Gato` itself, by what Flax lets a caller keep of a call.

Legend: B rows, L positions, N samples, S states of a sample (its poolings), H heads, d width.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.interpret import samples
from gato_jax.interpret.rows import LAST, STEP
from gato_jax.model import Gato, GatoConfig
from gato_jax.model.embedding import Embedding
from gato_jax.model.transformer import Block

_BATCH = 32


def streams(config: GatoConfig, params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
  """A batch (docs/batch.md) -> [layers + 1, B, L, d]: after the embedding, then after each block."""
  _, kept = Gato(_plain(config)).apply(
    {"params": params},
    batch,
    mutable=["intermediates"],
    capture_intermediates=lambda module, method: isinstance(module, Embedding | Block) and method == "__call__",
  )
  kept = kept["intermediates"]
  (embedded,), ((after_blocks, _),) = kept["embedding"]["__call__"], kept["decoder"]["layers"]["__call__"]
  return jnp.concatenate([embedded[None], after_blocks])


def first_attention(config: GatoConfig, params: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
  """The first layer's attention weights, float [B, H, L, L], query x key; only that layer is computed."""
  first = jax.tree.map(lambda leaf: leaf[:1], params["decoder"]["layers"])
  params = {**params, "decoder": {**params["decoder"], "layers": first}}
  network = Gato(dataclasses.replace(_plain(config), layers=1))
  _, kept = network.apply({"params": params}, batch, mutable=["attention"])
  (weights,) = kept["attention"]["decoder"]["layers"]["attention"]["weights"]
  return weights[0].swapaxes(0, 1)


def _plain(config: GatoConfig) -> GatoConfig:
  """The same function, computed so that what is kept is whole: all queries at once, and nothing computed twice."""
  return dataclasses.replace(config, remat="none", attention_block=0, scan_layers=True)


def poolings(tokens: Sequence[int]) -> list[str]:
  """Names of a sample's states, for InterpretConfig.tokens."""
  return [f"{n} tokens" for n in tokens] or [LAST, STEP]


def places(sample: samples.Sample, tokens: Sequence[int]) -> list[np.ndarray]:
  """Positions that each state is the mean of, in the order of `poolings`; a short sample gives what it has."""
  observation = sample.observation
  return [sample.read[:n] for n in tokens] or [observation[-1:], observation]


def pooled(
  config: GatoConfig,
  params: Any,
  found: Sequence[samples.Sample],
  tokens: Sequence[int],
  on_samples: Callable[[int], Any] = lambda n: None,
) -> np.ndarray:
  """float32 [layers + 1, S, N, d], the states of every sample after the embedding and after each block.

  Args:
    on_samples: called with the number of samples of each batch that is done.
  """
  names, results, start = poolings(tokens), [], 0
  for batch in samples.batches(found, _BATCH):
    weights = np.zeros([len(names), *batch["kinds"].shape], np.float32)
    some = found[start : start + _BATCH]
    for row, sample in enumerate(some):
      for state, where in enumerate(places(sample, tokens)):
        weights[state, row, where] = 1 / len(where)
    results.append(np.asarray(_pool(config, params, batch, weights))[:, :, : len(some)])
    start += _BATCH
    on_samples(len(some))
  return np.concatenate(results, axis=2)


@functools.partial(jax.jit, static_argnums=0)
def _pool(config: GatoConfig, params: Any, batch: Mapping[str, jax.Array], weights: jax.Array) -> jax.Array:
  """weights [S, B, L] -> [layers + 1, S, B, d]."""
  return jnp.einsum("nbld,sbl->nsbd", streams(config, params, batch).astype(jnp.float32), weights)
