"""A domain for tests of collecting: environments whose timesteps or specs are wrong.

Each task has one fault that users report, from step 5 of every episode on, or in its spec.
"""

import os

import dm_env
import numpy as np
from dm_env import specs as dm_specs

from gato_jax.domain import SimulatedDomain
from rlds_builders.base import wrappers

TASKS = (
  "plain",
  "alias",
  "float64",
  "integer_reward",
  "one_step",
  "nan",
  "list",
  "extra_key",
  "missing_key",
  "shape",
  "dtype",
  "bounds",
  "nan_reward",
  "no_reward",
  "restarts",
  "outside",
  "expert_shape",
  "infinite_action",
  "image_84",
  "no_text_tokens",
  "agent",
)
DOMAIN = SimulatedDomain(
  name="quirky",
  tasks=TASKS,
  weight=1.0,
  environment="quirky_domain:Quirky",
  expert="quirky_domain:Expert",
  agent_id=os.environ.get("QUIRKY_AGENT", "q1"),
)


class Quirky(wrappers.Environment):
  def __init__(self, task: str):
    self.task, self._x, self._t = task, np.zeros(3, np.float32), 0
    self._random = np.random.default_rng(0)
    self._needs_reset = True

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)

  def observation_spec(self):
    dtype = np.float64 if self.task == "float64" else np.float32
    spec = {"x": dm_specs.BoundedArray((3,), dtype, -9, 9, name="x")}
    if self.task == "image_84":
      spec["image"] = dm_specs.BoundedArray((84, 84, 3), np.uint8, 0, 255, name="image")
    if self.task == "no_text_tokens":
      spec["text"] = dm_specs.StringArray((), name="text")
    return spec

  def action_spec(self):
    top = np.inf if self.task == "infinite_action" else 1.0
    return dm_specs.BoundedArray((2,), np.float32, -top, top, name="action")

  def _observation(self):
    x = self._x if self.task == "alias" else self._x.copy()
    if self.task == "float64":
      x = x.astype(np.float64)
    if self._t < 5:
      return {"x": x}
    changed = {
      "nan": x * np.nan,
      "list": x.tolist(),
      "shape": x[:2],
      "dtype": x.astype(np.float64),
      "bounds": x + 100,
    }
    observation = {"x": changed.get(self.task, x)}
    if self.task == "extra_key":
      observation["y"] = x
    if self.task == "missing_key":
      del observation["x"]
    return observation

  def reset(self):
    self._x[:] = self._random.uniform(-1, 1, 3)
    self._t, self._needs_reset = 0, False
    return dm_env.restart(self._observation())

  def step(self, action):
    if self._needs_reset:
      return self.reset()
    self._x[:2] += 0.1 * np.asarray(action)
    self._t += 1
    reward = self._t if self.task == "integer_reward" else 1.0 + self._t

    if self._t == 5:
      reward = {"nan_reward": float("nan"), "no_reward": None}.get(self.task, reward)
      if self.task == "restarts":
        return self.reset()

    if self._t == 10 or self.task == "one_step":
      self._needs_reset = True
      return dm_env.termination(reward, self._observation())

    return dm_env.transition(reward, self._observation())


class Expert:
  def __init__(self, environment: Quirky, task: str):
    self._task = task

  def reset(self, seed: int) -> None:
    """Does nothing: the expert has no state."""

  def act(self, timestep):
    action = np.clip(-np.asarray(timestep.observation["x"], np.float32)[:2], -1, 1)
    if self._task == "expert_shape":
      return action[:1]
    return action * 0 + 3 if self._task == "outside" else action
