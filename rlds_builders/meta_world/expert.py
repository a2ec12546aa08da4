"""The scripted policies that come with Meta-World."""

import warnings

import dm_env
import numpy as np
from metaworld.policies import ENV_POLICY_MAP

from rlds_builders.meta_world.environment import MetaWorld


class ScriptedPolicy:
  """Reads the simulator's own 39 numbers, not the clipped observation; keeps no memory between steps."""

  def __init__(self, environment: MetaWorld, task: str):
    self._environment = environment
    self._policy = ENV_POLICY_MAP[task]()

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
