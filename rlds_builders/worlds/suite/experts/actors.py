"""Kinds of experts: a planner, a feedback law, and a planner that hands over to a law.

All read the model's parameters at reset(), which follows the environment's reset().
"""

from collections.abc import Callable
from typing import Protocol

import dm_env
import mujoco
import numpy as np

from rlds_builders.planners import sampling
from rlds_builders.planners.rollouts import Trajectories
from rlds_builders.worlds.suite.environment import ControlSuite
from rlds_builders.worlds.suite.experts.planning_model import PlanningModel
from rlds_builders.worlds.suite.experts.rewards import Reward

# (qpos [nq], qvel [nv]) -> action [A].
Law = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Basin(Protocol):
  """Set of states in which a law holds the goal."""

  def contains(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """True for a state in the set."""

  def law(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Returns the law's action, [A]."""

  def score(self, t: Trajectories) -> np.ndarray:
    """Returns the score of each step, [B, T], by which the planner finds the set."""


class Planner:
  """A SamplingPlanner on the environment's physics."""

  def __init__(
    self,
    environment: ControlSuite,
    task: str,
    score: Reward,
    settings: sampling.Settings,
    make_law: Callable[[mujoco.MjModel], Law] | None = None,
  ):
    """Initialises the expert.

    Args:
      environment: The environment that it plays in.
      task: The suite's task, "domain-task".
      score: Returns the score of each step of rollouts, [B, T].
      settings: The planner's settings.
      make_law: Returns a law for a model; plans are then differences from the law's actions.
    """
    self._environment = environment
    self._task = task
    self._score = score
    self._settings = settings
    self._make_law = make_law
    self._model: mujoco.MjModel | None = None
    self.reset(0)

  def reset(self, seed: int) -> None:
    model = self._environment.physics.model.ptr

    # Randomised bodies load their physics anew, which makes another model.
    if model is not self._model:
      self._model = model
      self._planning_model = PlanningModel(model, self._task)
    self._planning_model.refresh()

    self._planner = sampling.SamplingPlanner(
      self._planning_model.model,
      self._score,
      settings=self._settings,
      substeps=self._environment.substeps,
      law=self._make_law(model) if self._make_law else None,
    )
    self._planner.reset(seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # plans from the full physics state
    return self._planner.act(self._environment.physics.data.ptr).astype(np.float32)


class Feedback:
  """A law u(qpos, qvel) on the environment's physics."""

  def __init__(self, environment: ControlSuite, make_law: Callable[[mujoco.MjModel], Law]):
    self._environment = environment
    self._make_law = make_law
    self.reset(0)

  def reset(self, seed: int) -> None:
    del seed  # a function of the state only
    self._law = self._make_law(self._environment.physics.model.ptr)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # the law reads the physics state
    data = self._environment.physics.data
    return np.clip(self._law(data.qpos, data.qvel), -1, 1).astype(np.float32)


class Catch:
  """Plans into the basin of a law that holds the goal, then follows the law."""

  def __init__(
    self,
    environment: ControlSuite,
    task: str,
    make_basin: Callable[[mujoco.MjModel], Basin],
    settings: sampling.Settings,
  ):
    """Initialises the expert.

    Args:
      environment: The environment that it plays in.
      task: The suite's task, "domain-task".
      make_basin: Returns the basin of a model.
      settings: The planner's settings.
    """
    self._environment = environment
    self._make_basin = make_basin

    # The basin changes with every reset(), so the score looks it up.
    self._planner = Planner(
      environment, task, score=lambda t: self._basin.score(t), settings=settings
    )
    self.reset(0)

  def reset(self, seed: int) -> None:
    self._basin = self._make_basin(self._environment.physics.model.ptr)
    self._planner.reset(seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    data = self._environment.physics.data
    if self._basin.contains(data.qpos, data.qvel):
      return np.clip(self._basin.law(data.qpos, data.qvel), -1, 1).astype(np.float32)

    return self._planner.act(timestep)
