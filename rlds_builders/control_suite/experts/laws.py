"""Feedback laws u(qpos, qvel) where one is optimal or nearly; each takes its parameters from the model."""

from collections.abc import Callable

import mujoco
import numpy as np

from rlds_builders._angles import wrapped
from rlds_builders.control_suite.experts.actors import Law
from rlds_builders.planners import lqr


def point_mass(model: mujoco.MjModel) -> Law:
  """The regulator; the linearisation knows how the hard task mixes its two actuators."""
  gain = lqr.gain(model, np.zeros(2), np.array([100.0, 100.0, 1.0, 1.0]), 0.1)
  return lambda qpos, qvel: -gain @ np.concatenate([qpos, qvel])


def _cartpole_gain(model: mujoco.MjModel) -> np.ndarray:
  return lqr.gain(model, np.zeros(2), np.array([1.0, 10.0, 0.1, 0.1]), 1.0)


def cartpole_balance(model: mujoco.MjModel) -> Law:
  gain = _cartpole_gain(model)
  return lambda qpos, qvel: -gain @ np.concatenate([qpos, qvel])


def pendulum(model: mujoco.MjModel) -> Law:
  """Pumps energy up to that of the upright rest, then holds with the regulator where its torque suffices."""
  gain = lqr.gain(model, np.zeros(1), np.array([10.0, 1.0]), 1.0)

  def law(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    angle = wrapped(qpos)
    balance = -gain @ np.concatenate([angle, qvel])
    if abs(balance[0]) < 1 and abs(angle[0]) < 0.6:
      return balance
    missing = 0.2 - _pole_energy(model, "pole", angle, qvel)  # arrives with some speed left: friction takes a part
    return np.clip(5 * missing, -1, 1) * np.tanh(10 * qvel)

  return law


def cartpole_swingup(model: mujoco.MjModel) -> Law:
  """Energy pumping with a pull towards the middle (Astrom and Furuta 2000), then the regulator."""
  gain = _cartpole_gain(model)

  def law(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    angle = wrapped(qpos[1:])
    balance = -gain @ np.concatenate([qpos[:1], angle, qvel])
    if abs(balance[0]) < 1.5 and abs(angle[0]) < 0.7:
      return balance
    missing = -_pole_energy(model, "pole_1", angle, qvel[1:])
    pump = np.clip(5 * missing, -0.6, 0.6) * np.tanh(5 * qvel[1:] * np.cos(angle))
    return -pump - 0.3 * qpos[:1]

  return law


def _pole_energy(model: mujoco.MjModel, pole: str, angle: np.ndarray, velocity: np.ndarray) -> np.ndarray:
  """Joules above the upright rest (negative below) of a pole hinged at its body's origin; angle 0 is upright."""
  body = model.body(pole)
  height = body.ipos[2]
  inertia = body.inertia[1] + body.mass[0] * height**2
  return 0.5 * inertia * velocity**2 + body.mass[0] * -model.opt.gravity[2] * height * (np.cos(angle) - 1)


LAWS: dict[str, Callable[[mujoco.MjModel], Law]] = {
  "cartpole-balance": cartpole_balance,
  "cartpole-balance_sparse": cartpole_balance,
  "cartpole-swingup": cartpole_swingup,
  "cartpole-swingup_sparse": cartpole_swingup,
  "pendulum-swingup": pendulum,
  "point_mass-easy": point_mass,
  "point_mass-hard": point_mass,
}
