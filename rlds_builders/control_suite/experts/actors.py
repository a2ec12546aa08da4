"""What acts in an environment: a planner, a law, or a planner that hands over to a law where that one holds the goal.

All read the model's parameters at reset(), which follows the environment's.
"""

from collections.abc import Callable
from typing import Any

import dm_env
import mujoco
import numpy as np

from rlds_builders.control_suite.experts.planning_model import PlanningModel
from rlds_builders.control_suite.experts.rewards import Reward
from rlds_builders.planners import sampling

Law = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Planner:
  """A SamplingPlanner on the environment's physics."""

  def __init__(
    self,
    environment: Any,
    task: str,
    score: Reward,
    settings: sampling.Settings,
    make_law: Callable[[mujoco.MjModel], Law] | None = None,
  ):
    self._environment, self._task = environment, task
    self._score, self._settings, self._make_law = score, settings, make_law
    self._model = None
    self.reset(0)

  def reset(self, seed: int) -> None:
    model = self._environment.physics.model.ptr
    if model is not self._model:  # a new one wherever the physics was loaded again
      self._model = model
      self._planning_model = PlanningModel(model, self._task)
    self._planning_model.refresh()
    law = self._make_law(model) if self._make_law else None
    self._planner = sampling.SamplingPlanner(
      self._planning_model.model, self._score, self._settings, self._environment.substeps, law
    )
    self._planner.reset(seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # plans from the full physics state
    return self._planner.act(self._environment.physics.data.ptr).astype(np.float32)


class Feedback:
  """A law u(qpos, qvel) on the environment's physics."""

  def __init__(self, environment: Any, make_law: Callable[[mujoco.MjModel], Law]):
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


class Catch:
  """Plans into the basin of a law that holds the goal, then follows the law.

  Args:
    make_basin: model -> an object with `contains(qpos, qvel)`, `law(qpos, qvel)` and `score(trajectories)`.
    settings: how to plan.
  """

  def __init__(
    self, environment: Any, task: str, make_basin: Callable[[mujoco.MjModel], Any], settings: sampling.Settings
  ):
    self._environment, self._make_basin = environment, make_basin
    self._planner = Planner(environment, task, lambda t: self._basin.score(t), settings)
    self.reset(0)

  def reset(self, seed: int) -> None:
    self._basin = self._make_basin(self._environment.physics.model.ptr)
    self._planner.reset(seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    data = self._environment.physics.data
    if self._basin.contains(data.qpos, data.qvel):
      return np.clip(self._basin.law(data.qpos, data.qvel), -1, 1).astype(np.float32)
    return self._planner.act(timestep)
