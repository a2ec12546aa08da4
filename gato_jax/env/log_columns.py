"""An episode of a raw log as columns, aligned as in RLDS."""

from typing import Any

import dm_env
import numpy as np

from gato_jax.task import flatten

Columns = dict[str, np.ndarray]


def from_steps(
  timesteps: list[dm_env.TimeStep], actions: list[Any], expert_actions: list[Any] | None
) -> Columns:
  """Returns an episode as columns with RLDS's alignment.

  Args:
    timesteps: T + 1.
    actions: The executed ones, T; action t led to timestep t + 1.
    expert_actions: Those that the expert would have taken, T; None if they are `actions`.
  """
  observations = [flatten(timestep.observation) for timestep in timesteps]
  episode = {}
  for key in observations[0]:
    column = np.stack([o[key] for o in observations])
    # EnvLogger gives back texts as objects where they were arrays.
    episode[f"observation/{key}"] = column.astype(str) if column.dtype == object else column

  # dm_env: timestep t has the reward and the discount that led to observation t. RLDS: step t holds
  # those that follow it. So each is taken from the step after, and the last step is padded.
  for name, taken in (("action", actions), ("expert_action", expert_actions or actions)):
    arrays = [np.asarray(action) for action in taken]
    episode[name] = np.stack([*arrays, np.zeros_like(arrays[-1])])

  rewards = [float(timestep.reward) for timestep in timesteps[1:]]
  discounts = [float(timestep.discount) for timestep in timesteps[1:]]
  episode["reward"] = np.array([*rewards, 0.0], np.float32)
  episode["discount"] = np.array([*discounts, 0.0], np.float32)
  return episode
