"""The scripted policies that come with Meta-World."""

import warnings

import dm_env
import numpy as np
from metaworld.policies import ENV_POLICY_MAP, SawyerButtonPressTopdownV3Policy

from rlds_builders.meta_world.environment import MetaWorld

# The package's own policy for this task presses with an open gripper, which the task's reward punishes: it succeeds
# with a return of 0.5, below the 61 of random actions. The policy of the task without the wall succeeds with 1283.
_REPLACED = {"button-press-topdown-wall-v3": SawyerButtonPressTopdownV3Policy}


class ScriptedPolicy:
  """Reads the simulator's own 39 numbers, not the clipped observation; keeps no memory between steps."""

  def __init__(self, environment: MetaWorld, task: str):
    self._environment = environment
    self._policy = {**ENV_POLICY_MAP, **_REPLACED}[task]()

  def reset(self, seed: int) -> None:
    del seed  # deterministic

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    with warnings.catch_warnings():
      warnings.filterwarnings("ignore", "Constant\\(s\\) may be too high")  # proportional control saturates by design
      action = self._policy.get_action(self._environment.state)
    return np.clip(action, -1.0, 1.0).astype(np.float32)


def make(environment: MetaWorld, task: str) -> ScriptedPolicy:
  return ScriptedPolicy(environment, task)
