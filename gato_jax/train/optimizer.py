"""AdamW with linear warm-up and cosine decay (Reed et al. 2022, appendix C.2; docs/paper.md)."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

_NOT_DECAYED = ("scale", "bias", "position", "positions")  # endings of names


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Settings of the optimizer; the defaults are those of the paper's 1.18B run.

  Attributes:
    peak_learning_rate: Reached after the warm-up.
    warmup_steps: Length of the linear warm-up, at most a tenth of the decay (for short runs).
    decay_steps: Step at which the cosine ends; None: the length of the run.
    initial_learning_rate: At step 0.
    final_fraction: Final learning rate as a fraction of the peak.
    b1: Decay of AdamW's first moment.
    b2: Decay of AdamW's second moment.
    eps: Added to AdamW's denominator.
    weight_decay: Decoupled; see `decayed`.
    clip: Global norm to which gradients are clipped (ours).
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
  """Returns the learning rate of a step.

  This is optax.warmup_cosine_decay_schedule, whose lengths cannot be traced. Here `total_steps` may
  be, so that a run can change its length without compiling the training step again.

  Args:
    config: Of the optimizer.
    step: 0, 1, ...
    total_steps: Length of the run.
  """
  decay_steps = total_steps if config.decay_steps is None else config.decay_steps
  decay = jnp.asarray(decay_steps, jnp.float32)
  warmup = jnp.maximum(jnp.minimum(config.warmup_steps, decay // 10), 1.0)
  step = jnp.asarray(step, jnp.float32)
  peak, initial = config.peak_learning_rate, config.initial_learning_rate

  rising = initial + (peak - initial) * step / warmup

  progress = jnp.clip((step - warmup) / jnp.maximum(decay - warmup, 1.0), 0.0, 1.0)
  cosine = 0.5 * (1 + jnp.cos(jnp.pi * progress))
  falling = peak * (config.final_fraction + (1 - config.final_fraction) * cosine)

  return jnp.where(step < warmup, rising, falling)


def decayed(params: Any) -> Any:
  """Returns a pytree of booleans, True for parameters with weight decay.

  All but norms, biases and position tables have it (ours).
  """

  def is_decayed(path: tuple, leaf: Any) -> bool:
    del leaf
    name = path[-1].key
    return not name.endswith(_NOT_DECAYED)

  return jax.tree_util.tree_map_with_path(is_decayed, params)


def transformation(config: OptimizerConfig) -> optax.GradientTransformation:
  """Returns the transformation of gradients to AdamW's directions.

  The training step multiplies these by the negative learning rate, which depends on the traced
  length of the run.
  """
  return optax.chain(
    optax.clip_by_global_norm(config.clip),
    optax.scale_by_adam(config.b1, config.b2, eps=config.eps),
    optax.add_decayed_weights(config.weight_decay, mask=decayed),
  )
