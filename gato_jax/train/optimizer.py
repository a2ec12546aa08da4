"""AdamW with a linear warm-up and a decay (Reed et al. 2022, appendix C.2; docs/paper.md).

The paper's decay is a cosine over the whole run. "wsd" (warm-up, stable, decay; Hu et al. 2024)
keeps the rate at its peak until a last, linear decay, so that runs of several lengths share their
stable part (`train.branch_from`).
"""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gato_jax.errors import GatoError, check_name
from gato_jax.model import parametrization
from gato_jax.model.config import GatoConfig

SCHEDULES = ("cosine", "wsd")
_NOT_DECAYED = ("scale", "bias", "position", "positions")  # endings of names


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
  """Settings of the optimizer; the defaults are those of the paper's 1.18B run.

  Attributes:
    peak_learning_rate: Reached after the warm-up.
    warmup_steps: Length of the linear warm-up, at most a tenth of the decay (for short runs).
    decay_steps: Step at which the decay ends; None: the length of the run.
    schedule: "cosine", as in the paper, or "wsd".
    cooldown: Share of the run over which "wsd" decays, at its end.
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
  schedule: str = "cosine"
  cooldown: float = 0.2
  initial_learning_rate: float = 1e-7
  final_fraction: float = 0.1
  b1: float = 0.9
  b2: float = 0.95
  eps: float = 1e-8
  weight_decay: float = 0.1
  clip: float = 1.0

  def __post_init__(self) -> None:
    check_name(self.schedule, SCHEDULES, "value of optimizer.schedule")
    if not 0 < self.cooldown <= 1:
      raise GatoError(
        f"optimizer.cooldown={self.cooldown}: a share of the run, above 0 and up to 1"
      )


def learning_rate(config: OptimizerConfig, step: jax.Array, total_steps: jax.Array) -> jax.Array:
  """Returns the learning rate of a step.

  "cosine" is optax.warmup_cosine_decay_schedule, whose lengths cannot be traced. Here `total_steps`
  may be, so that a run can change its length without compiling the training step again.

  Args:
    config: Of the optimizer.
    step: 0, 1, ...
    total_steps: Length of the run.
  """
  decay_steps = total_steps if config.decay_steps is None else config.decay_steps
  decay = jnp.asarray(decay_steps, jnp.float32)
  warmup_steps = jnp.maximum(jnp.minimum(config.warmup_steps, decay // 10), 1.0)
  step = jnp.asarray(step, jnp.float32)
  peak, initial = config.peak_learning_rate, config.initial_learning_rate

  rising = initial + (peak - initial) * step / warmup_steps

  begin = (
    warmup_steps if config.schedule == "cosine" else decay - jnp.round(config.cooldown * decay)
  )
  progress = jnp.clip((step - begin) / jnp.maximum(decay - begin, 1.0), 0.0, 1.0)
  if config.schedule == "cosine":
    share = 0.5 * (1 + jnp.cos(jnp.pi * progress))
  else:
    share = 1 - progress
  falling = peak * (config.final_fraction + (1 - config.final_fraction) * share)

  return jnp.where(step < warmup_steps, rising, falling)


def decayed(params: Any) -> Any:
  """Returns a pytree of booleans, True for parameters with weight decay.

  All but norms, biases and position tables have it (ours).
  """

  def is_decayed(path: tuple, leaf: Any) -> bool:
    del leaf
    name = path[-1].key
    return not name.endswith(_NOT_DECAYED)

  return jax.tree_util.tree_map_with_path(is_decayed, params)


def warmup(config: OptimizerConfig, total_steps: int) -> int:
  """Returns the steps of the warm-up of a run, as `learning_rate` has them."""
  return max(1, min(config.warmup_steps, (config.decay_steps or total_steps) // 10))


def cooldown_start(config: OptimizerConfig, total_steps: int) -> int | None:
  """Returns the number of steps of a run before "wsd" begins to decay; None for a cosine."""
  if config.schedule != "wsd":
    return None
  decay_steps = config.decay_steps or total_steps
  # As `learning_rate` rounds, half to even, in float32.
  return decay_steps - int(np.round(np.float32(config.cooldown) * np.float32(decay_steps)))


def transformation(
  config: OptimizerConfig, model_config: GatoConfig
) -> optax.GradientTransformation:
  """Returns the transformation of gradients to AdamW's directions.

  The training step multiplies these by the negative learning rate, which depends on the traced
  length of the run.

  Args:
    config: Of the optimizer.
    model_config: Of the model; "mup" gives each parameter a factor of its learning rate. The weight
      decay has none, so that weights decay alike at every size.
  """
  steps = [
    optax.clip_by_global_norm(config.clip),
    optax.scale_by_adam(config.b1, config.b2, eps=config.eps),
  ]

  if model_config.parametrization == "mup":

    def scale(updates: Any, params: Any) -> Any:
      del params
      factors = parametrization.update_factors(model_config, updates)
      return jax.tree.map(lambda update, factor: update * factor, updates, factors)

    steps.append(optax.stateless(scale))

  steps.append(optax.add_decayed_weights(config.weight_decay, mask=decayed))
  return optax.chain(*steps)
