"""AdamW with linear warm-up and cosine decay (Reed et al. 2022, appendix C; GATO_SPEC section 4)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Defaults are the paper's 1.18B run.

  Attributes:
    peak_learning_rate: reached after the warm-up.
    warmup_steps: linear from initial_learning_rate; at most a tenth of the decay, for short runs.
    decay_steps: step at which the cosine reaches final_fraction of the peak; None: the run's length.
    clip: global gradient norm (ours).
  """

  peak_learning_rate: float = 1e-4
  warmup_steps: int = 15_000
  decay_steps: int | None = None
  initial_learning_rate: float = 1e-7
  final_fraction: float = 0.1
  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  weight_decay: float = 0.1
  clip: float = 1.0


def learning_rate(config: OptimizerConfig, step: jax.Array, total_steps: jax.Array) -> jax.Array:
  """Of step 0, 1, ...; total_steps may be traced, so that a run's length does not recompile the step."""
  decay = jnp.asarray(total_steps if config.decay_steps is None else config.decay_steps, jnp.float32)
  warmup = jnp.maximum(jnp.minimum(config.warmup_steps, decay // 10), 1.0)
  step = jnp.asarray(step, jnp.float32)
  peak, initial = config.peak_learning_rate, config.initial_learning_rate
  rising = initial + (peak - initial) * step / warmup
  progress = jnp.clip((step - warmup) / jnp.maximum(decay - warmup, 1.0), 0.0, 1.0)
  falling = peak * (config.final_fraction + (1 - config.final_fraction) * 0.5 * (1 + jnp.cos(jnp.pi * progress)))
  return jnp.where(step < warmup, rising, falling)


def decayed(params: Any) -> Any:
  """Which parameters weight decay touches: all but norms, biases and position tables (ours)."""

  def one(path: tuple, leaf: Any) -> bool:
    del leaf
    name = path[-1].key
    return not name.endswith(("scale", "bias", "position", "positions"))

  return jax.tree_util.tree_map_with_path(one, params)


def transformation(config: OptimizerConfig) -> optax.GradientTransformation:
  """Gradients -> AdamW direction; the step multiplies it by minus the learning rate."""
  return optax.chain(
    optax.clip_by_global_norm(config.clip),
    optax.scale_by_adam(config.b1, config.b2, config.eps),
    optax.add_decayed_weights(config.weight_decay, mask=decayed),
  )
