"""Sampling MPC on the morphology's own reward, with slopes that keep it from falling later."""

import copy
import dataclasses
import functools

import dm_env
import mujoco
import numpy as np

from rlds_builders.modular_rl import environment as modular
from rlds_builders.planners import sampling
from rlds_builders.planners.rollouts import Trajectories

_LEAN_COST = 1.0  # per square of the sine of the torso's lean
_SINK_COST = 5.0  # per metre of the torso below its height at the start


@dataclasses.dataclass(frozen=True)
class Plan:
  """Objective and settings of the planner for a body.

  Attributes:
    speed: Factor on the forward part of the reward. With 1 some bodies would rather stand still.
    fall_cost: Cost of each step from a fall on.
    settings: Settings of the planner.
  """

  speed: float
  fall_cost: float
  settings: sampling.Settings


_PLANS = {
  "walker2d": Plan(
    speed=1.0,
    fall_cost=20.0,
    settings=sampling.Settings(
      horizon=70,
      knot_interval=7,
      samples=64,
      noise=0.6,
      spread=4,
      temperature=0.1,
      coarse=2,
      control_cost=0.02,
    ),
  ),
  "hopper": Plan(
    speed=2.0,
    fall_cost=0.0,
    settings=sampling.Settings(
      # Its only foot needs a whole hop of foresight.
      horizon=120,
      knot_interval=8,
      samples=64,
      noise=1.0,
      spread=4,
      temperature=0.1,
      replan_interval=4,
      coarse=2,
      control_cost=0.02,
    ),
  ),
  "humanoid": Plan(
    speed=2.0,
    fall_cost=5.0,
    settings=sampling.Settings(
      horizon=60,
      knot_interval=15,
      samples=40,
      noise=0.6,
      spread=4,
      temperature=0.1,
      control_cost=0.2,
    ),
  ),
}


def score(environment: modular.Morphology, plan: Plan, t: Trajectories) -> np.ndarray:
  """Returns the score of each step of rollouts, [B, T].

  It is the reward for speed and standing, nothing after a fall, minus costs that grow before one.
  """
  body = environment.body
  alive = np.cumprod(environment.healthy(t.qpos), axis=-1)
  speed = t.qvel[..., 0]
  height = t.qpos[..., 1 if body.planar else 2]
  sink = np.maximum(environment.start - height, 0)

  slope = -_SINK_COST * sink - _LEAN_COST * _lean(body, t.qpos) - plan.fall_cost * (1 - alive)
  return alive * (plan.speed * body.forward * speed + body.healthy) + slope


def _lean(body: modular.Body, qpos: np.ndarray) -> np.ndarray:
  """Returns the squared sine of the angle between the torso's axis and the vertical, [...].

  Beyond a right angle it grows on, from 1.
  """
  if body.planar:
    cosine = np.cos(qpos[..., 2])
  else:
    # The z component of the rotated z axis, from x and y of the unit quaternion (w, x, y, z).
    cosine = 1 - 2 * np.square(qpos[..., 4:6]).sum(axis=-1)

  return np.where(cosine > 0, 1 - np.square(cosine), 1 - cosine)


class Planner:
  """A SamplingPlanner on the morphology."""

  def __init__(self, environment: modular.Morphology, plan: Plan):
    self._data = environment.data

    # One evaluation a step in place of the four of the environment's Runge-Kutta integrator.
    model = copy.copy(environment.model)
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST

    self._planner = sampling.SamplingPlanner(
      model,
      functools.partial(score, environment, plan),
      settings=plan.settings,
      substeps=environment.substeps,
    )

  def reset(self, seed: int) -> None:
    self._planner.reset(seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # plans from the full physics state
    return self._planner.act(self._data).astype(np.float32)


def make(environment: modular.Morphology, task: str) -> Planner:
  """Returns the planner of a morphology."""
  return Planner(environment, _PLANS[task.split("-")[0]])
