"""Experts of the control suite: sampling MPC on the tasks' true rewards, and feedback laws where one is optimal.

Both act smoothly and (nearly) as a function of the state, because they exist to be imitated.
"""

from collections.abc import Callable
from typing import Any

import dm_env
import mujoco
import numpy as np
from dm_control.utils import rewards

from rlds_builders.planners import lqr, sampling
from rlds_builders.planners.sampling import Trajectories

_PENDULUM_COSINE = np.cos(np.deg2rad(8))  # dm_control.suite.pendulum


# The suite's rewards over whole rollouts, [B, T]; tests compare them with every task's own get_reward.


def _small_control(t: Trajectories) -> np.ndarray:
  return rewards.tolerance(t.actions, margin=1, value_at_margin=0, sigmoid="quadratic").mean(axis=-1)


def point_mass(t: Trajectories) -> np.ndarray:
  size = t.model.geom("target").size[0]
  near = rewards.tolerance(np.linalg.norm(t.qpos, axis=-1), bounds=(0, size), margin=size)
  return near * (_small_control(t) + 4) / 5


def _finger_to_target(t: Trajectories) -> np.ndarray:
  """Reacher's vector from finger to target, [B, T, 2]."""
  shoulder, wrist = t.qpos[..., 0], t.qpos.sum(axis=-1)
  upper, lower = t.model.body("hand").pos[0], t.model.body("finger").pos[0]
  finger = np.stack(
    [upper * np.cos(shoulder) + lower * np.cos(wrist), upper * np.sin(shoulder) + lower * np.sin(wrist)], axis=-1
  )
  return t.model.geom("target").pos[:2] - finger


def reacher(t: Trajectories) -> np.ndarray:
  radii = t.model.geom("target").size[0] + t.model.geom("finger").size[0]
  return rewards.tolerance(np.linalg.norm(_finger_to_target(t), axis=-1), (0, radii))


def _ball_to_target(t: Trajectories) -> np.ndarray:
  """Vector (x, z) from the ball to the middle of the cup, [B, T, 2]."""
  rest = t.model.body("cup").pos + t.model.site("target").pos - t.model.body("ball").pos
  return rest[[0, 2]] + t.qpos[..., :2] - t.qpos[..., 2:4]


def ball_in_cup(t: Trajectories) -> np.ndarray:
  room = t.model.site("target").size[[0, 2]] - t.model.geom("ball").size[0]
  return np.all(np.abs(_ball_to_target(t)) < room, axis=-1).astype(float)


def pendulum(t: Trajectories) -> np.ndarray:
  return rewards.tolerance(np.cos(t.qpos[..., 0]), (_PENDULUM_COSINE, 1))


def cartpole(t: Trajectories) -> np.ndarray:
  upright = (np.cos(t.qpos[..., 1]) + 1) / 2
  centered = (1 + rewards.tolerance(t.qpos[..., 0], margin=2)) / 2
  small_velocity = (1 + rewards.tolerance(t.qvel[..., 1], margin=5)) / 2
  return upright * (4 + _small_control(t)) / 5 * small_velocity * centered


def _tip_to_target(t: Trajectories) -> np.ndarray:
  """Finger's signed distance from the spinner's tip to the target's surface, [B, T]."""
  gap = (t.sensor("target") - t.sensor("tip"))[..., [0, 2]]
  return np.linalg.norm(gap, axis=-1) - t.model.site("target").size[0]


def finger_turn(t: Trajectories) -> np.ndarray:
  return (_tip_to_target(t) <= 0).astype(float)


# What planners maximise: the reward, and slopes towards it where it is flat.


def _reacher_score(t: Trajectories) -> np.ndarray:
  return reacher(t) - 5 * np.linalg.norm(_finger_to_target(t), axis=-1) - 0.01 * np.square(t.qvel).sum(axis=-1)


def _ball_in_cup_score(t: Trajectories) -> np.ndarray:
  to_target = _ball_to_target(t)
  # No slope once caught, or the planner would shake the ball about in the cup.
  return np.where(ball_in_cup(t) > 0, 1.0, -np.linalg.norm(to_target, axis=-1) - to_target[..., 1])


def _finger_turn_score(t: Trajectories) -> np.ndarray:
  return finger_turn(t) - 2 * np.maximum(_tip_to_target(t), 0) - 0.002 * np.abs(t.qvel[..., 2])


_PLANS: dict[str, tuple[Callable[[Trajectories], np.ndarray], sampling.Settings]] = {
  "ball_in_cup-catch": (
    _ball_in_cup_score,
    sampling.Settings(
      horizon=40, knot_interval=8, samples=16, noise=1.0, replan_interval=5, control_cost=0.01, change_cost=0.01
    ),
  ),
  "finger-turn_easy": (
    _finger_turn_score,
    sampling.Settings(horizon=60, knot_interval=10, noise=0.7, replan_interval=4, control_cost=0.02, change_cost=0.02),
  ),
  "reacher-easy": (
    _reacher_score,
    sampling.Settings(horizon=40, knot_interval=8, noise=0.2, control_cost=0.02, change_cost=0.02),
  ),
}


class Planner:
  """A SamplingPlanner on the environment's physics."""

  def __init__(self, environment: Any, score: Callable[[Trajectories], np.ndarray], settings: sampling.Settings):
    self._physics = environment.physics
    self._planner = sampling.SamplingPlanner(environment.physics.model.ptr, score, settings, environment.substeps)

  def reset(self, seed: int) -> None:
    self._planner.reset(seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep  # plans from the full physics state
    return self._planner.act(self._physics.data.ptr).astype(np.float32)


class Feedback:
  """A law u(qpos, qvel) on the environment's physics."""

  def __init__(self, environment: Any, law: Callable[[np.ndarray, np.ndarray], np.ndarray]):
    self._data = environment.physics.data
    self._law = law

  def reset(self, seed: int) -> None:
    del seed  # a function of the state only

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    return np.clip(self._law(self._data.qpos, self._data.qvel), -1, 1).astype(np.float32)


Law = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _point_mass_law(model: mujoco.MjModel) -> Law:
  gain = lqr.gain(model, np.zeros(2), np.array([100.0, 100.0, 1.0, 1.0]), 0.1)
  return lambda qpos, qvel: -gain @ np.concatenate([qpos, qvel])


def _cartpole_gain(model: mujoco.MjModel) -> np.ndarray:
  return lqr.gain(model, np.zeros(2), np.array([1.0, 10.0, 0.1, 0.1]), 1.0)


def _cartpole_balance_law(model: mujoco.MjModel) -> Law:
  gain = _cartpole_gain(model)
  return lambda qpos, qvel: -gain @ np.concatenate([qpos, qvel])


def _pendulum_law(model: mujoco.MjModel) -> Law:
  """Pumps energy up to that of the upright rest, then holds with the regulator where its torque suffices."""
  gain = lqr.gain(model, np.zeros(1), np.array([10.0, 1.0]), 1.0)

  def law(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    angle = _wrapped(qpos)
    balance = -gain @ np.concatenate([angle, qvel])
    if abs(balance[0]) < 1 and abs(angle[0]) < 0.6:
      return balance
    missing = 0.2 - _pole_energy(model, "pole", angle, qvel)  # arrives with some speed left: friction takes a part
    return np.clip(5 * missing, -1, 1) * np.tanh(10 * qvel)

  return law


def _cartpole_swingup_law(model: mujoco.MjModel) -> Law:
  """Energy pumping with a pull towards the middle (Astrom and Furuta 2000), then the regulator."""
  gain = _cartpole_gain(model)

  def law(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    angle = _wrapped(qpos[1:])
    balance = -gain @ np.concatenate([qpos[:1], angle, qvel])
    if abs(balance[0]) < 1.5 and abs(angle[0]) < 0.7:
      return balance
    missing = -_pole_energy(model, "pole_1", angle, qvel[1:])
    pump = np.clip(5 * missing, -0.6, 0.6) * np.tanh(5 * qvel[1:] * np.cos(angle))
    return -pump - 0.3 * qpos[:1]

  return law


def _wrapped(angle: np.ndarray) -> np.ndarray:
  return (angle + np.pi) % (2 * np.pi) - np.pi


def _pole_energy(model: mujoco.MjModel, pole: str, angle: np.ndarray, velocity: np.ndarray) -> np.ndarray:
  """Joules above the upright rest (negative below) of a pole hinged at its body's origin; angle 0 is upright."""
  body = model.body(pole)
  height = body.ipos[2]
  inertia = body.inertia[1] + body.mass[0] * height**2
  return 0.5 * inertia * velocity**2 + body.mass[0] * -model.opt.gravity[2] * height * (np.cos(angle) - 1)


_LAWS: dict[str, Callable[[mujoco.MjModel], Law]] = {
  "cartpole-balance": _cartpole_balance_law,
  "cartpole-swingup": _cartpole_swingup_law,
  "pendulum-swingup": _pendulum_law,
  "point_mass-easy": _point_mass_law,
}


def make(environment: Any, task: str) -> Planner | Feedback:
  """The expert of `task`, playing in `environment`."""
  if task in _LAWS:
    return Feedback(environment, _LAWS[task](environment.physics.model.ptr))
  return Planner(environment, *_PLANS[task])


REWARDS: dict[str, Callable[[Trajectories], np.ndarray]] = {
  "ball_in_cup-catch": ball_in_cup,
  "cartpole-balance": cartpole,
  "cartpole-swingup": cartpole,
  "finger-turn_easy": finger_turn,
  "pendulum-swingup": pendulum,
  "point_mass-easy": point_mass,
  "reacher-easy": reacher,
}
