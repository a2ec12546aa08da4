"""The scripted policies that come with Meta-World."""

import warnings
from collections.abc import Callable
from typing import Any

import dm_env
import numpy as np
from metaworld.policies import ENV_POLICY_MAP, SawyerButtonPressTopdownV3Policy

from rlds_builders.meta_world.environment import MetaWorld

# The package's own policy for this task presses with an open gripper, which the task's reward
# punishes: it succeeds with a return of 0.5, below the 68 of random actions. The policy of the
# task without the wall succeeds with 1300.
_REPLACED = {"button-press-topdown-wall-v3": SawyerButtonPressTopdownV3Policy}


class ScriptedPolicy:
  """Acts on the simulator's own 39 numbers, not the clipped observation; has no memory."""

  def __init__(self, environment: MetaWorld, task: str):
    self._environment = environment
    policies: dict[str, Callable[[], Any]] = {**ENV_POLICY_MAP, **_REPLACED}
    self._policy = policies[task]()

  def reset(self, seed: int) -> None:
    del seed  # deterministic

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # the policy reads the environment's state

    with warnings.catch_warnings():
      # The policies' proportional control saturates by design.
      warnings.filterwarnings("ignore", "Constant\\(s\\) may be too high")
      action = self._policy.get_action(self._environment.state)

    return np.clip(action, -1.0, 1.0).astype(np.float32)


def make(environment: MetaWorld, task: str) -> ScriptedPolicy:
  """Returns the policy of a task, for an environment of the same task."""
  return ScriptedPolicy(environment, task)
