"""Sampling MPC on the morphology's own reward, with slopes that keep it from falling later to be fast now."""

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
_SINK_COST = 5.0  # per metre that the torso is below its height at the start


@dataclasses.dataclass(frozen=True)
class Plan:
  """How to plan for a body.

  Attributes:
    speed: the reward's forward part counts so many times; 1 as the reward says; some would rather stand still then.
    fall_cost: a step, from a fall on.
  """

  speed: float
  fall_cost: float
  settings: sampling.Settings


_PLANS = {
  "walker2d": Plan(
    1.0,
    20.0,
    sampling.Settings(
      horizon=70, knot_interval=7, samples=64, noise=0.6, spread=4, temperature=0.1, coarse=2, control_cost=0.02
    ),
  ),
  "hopper": Plan(
    2.0,
    0.0,
    sampling.Settings(
      horizon=120,  # its only foot needs a whole hop of foresight
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
    2.0,
    5.0,
    sampling.Settings(horizon=60, knot_interval=15, samples=40, noise=0.6, spread=4, temperature=0.1, control_cost=0.2),
  ),
}


def score(environment: modular.Morphology, plan: Plan, t: Trajectories) -> np.ndarray:
  """[B, T]: speed and health, nothing more after a fall; the slopes."""
  body = environment.body
  alive = np.cumprod(environment.healthy(t.qpos), axis=-1)
  speed = t.qvel[..., 0]
  height = t.qpos[..., 1 if body.planar else 2]
  sink = np.maximum(environment.start - height, 0)
  upright = -_SINK_COST * sink - _LEAN_COST * _lean(body, t.qpos) - plan.fall_cost * (1 - alive)
  return alive * (plan.speed * body.forward * speed + body.healthy) + upright


def _lean(body: modular.Body, qpos: np.ndarray) -> np.ndarray:
  """Square of the sine of the angle between the torso's axis and the vertical; 1 and more beyond a right angle."""
  if body.planar:
    upright = np.cos(qpos[..., 2])
  else:
    upright = 1 - 2 * np.square(qpos[..., 4:6]).sum(axis=-1)  # of a unit quaternion
  return np.where(upright > 0, 1 - np.square(upright), 1 - upright)


class Planner:
  """A SamplingPlanner on the morphology, integrated in fewer evaluations than the environment's Runge-Kutta steps."""

  def __init__(self, environment: modular.Morphology, plan: Plan):
    self._data = environment.data
    model = copy.copy(environment.model)
    model.opt.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    self._planner = sampling.SamplingPlanner(
      model, functools.partial(score, environment, plan), plan.settings, environment.substeps
    )

  def reset(self, seed: int) -> None:
    self._planner.reset(seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # plans from the full physics state
    return self._planner.act(self._data).astype(np.float32)


def make(environment: modular.Morphology, task: str) -> Planner:
  """The expert of a morphology."""
  return Planner(environment, _PLANS[task.split("-")[0]])
