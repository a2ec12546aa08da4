"""Experts of the control suite: sampling MPC on the tasks' true rewards, and feedback laws where one is optimal.

Both act smoothly and (nearly) as a function of the state, because they exist to be imitated. Each reads the model's
parameters anew at reset(), which follows the environment's: randomised variants need nothing else.
"""

from collections.abc import Callable
from typing import Any

import dm_env
import mujoco
import numpy as np

from gato_jax import specs
from rlds_builders.control_suite.experts import laws, plans, rewards
from rlds_builders.control_suite.experts.planning_model import PlanningModel
from rlds_builders.planners import sampling

REWARDS = rewards.REWARDS


class Planner:
  """A SamplingPlanner on the environment's physics."""

  def __init__(self, environment: Any, task: str, score: rewards.Reward, settings: sampling.Settings):
    self._environment, self._task = environment, task
    self._score, self._settings = score, settings
    self._model = None
    self.reset(0)

  def reset(self, seed: int) -> None:
    model = self._environment.physics.model.ptr
    if model is not self._model:  # a new one wherever the physics was loaded again
      self._model = model
      self._planning_model = PlanningModel(model, self._task)
      self._planner = sampling.SamplingPlanner(
        self._planning_model.model, self._score, self._settings, self._environment.substeps
      )
    self._planning_model.refresh()
    self._planner.reset(seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # plans from the full physics state
    return self._planner.act(self._environment.physics.data.ptr).astype(np.float32)


class Feedback:
  """A law u(qpos, qvel) on the environment's physics."""

  def __init__(self, environment: Any, make_law: Callable[[mujoco.MjModel], laws.Law]):
    self._environment = environment
    self._make_law = make_law
    self.reset(0)

  def reset(self, seed: int) -> None:
    del seed  # a function of the state only
    self._law = self._make_law(self._environment.physics.model.ptr)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    data = self._environment.physics.data
    return np.clip(self._law(data.qpos, data.qvel), -1, 1).astype(np.float32)


def make(environment: Any, task: str) -> Planner | Feedback:
  """The expert of `task`, playing in `environment`, which has `.physics`, `.task` and `.substeps`.

  Raises:
    GatoError: the control suite has no expert for the task.
  """
  if task in laws.LAWS:
    return Feedback(environment, laws.LAWS[task])
  specs.check_name(task, plans.PLANS, "task")
  return Planner(environment, task, *plans.PLANS[task])
