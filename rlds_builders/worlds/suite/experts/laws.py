"""Feedback laws u(qpos, qvel) where one is (nearly) optimal, with parameters from the model."""

from collections.abc import Callable

import mujoco
import numpy as np

from rlds_builders.planners import lqr
from rlds_builders.worlds.radians import wrapped
from rlds_builders.worlds.suite.experts.actors import Law


def point_mass(model: mujoco.MjModel) -> Law:
  """Returns the linear-quadratic regulator.

  Its linearisation includes how the hard task mixes the two actuators.
  """
  state_cost = np.array([100.0, 100.0, 1.0, 1.0])
  gain = lqr.gain(model, np.zeros(2), state_cost=state_cost, control_cost=0.1)
  return lambda qpos, qvel: -gain @ np.concatenate([qpos, qvel])


def _cartpole_gain(model: mujoco.MjModel) -> np.ndarray:
  state_cost = np.array([1.0, 10.0, 0.1, 0.1])
  return lqr.gain(model, np.zeros(2), state_cost=state_cost, control_cost=1.0)


def cartpole_balance(model: mujoco.MjModel) -> Law:
  """Returns the linear-quadratic regulator."""
  gain = _cartpole_gain(model)
  return lambda qpos, qvel: -gain @ np.concatenate([qpos, qvel])


def pendulum(model: mujoco.MjModel) -> Law:
  """Returns a law that pumps energy up to that of the upright rest, then regulates."""
  gain = lqr.gain(model, np.zeros(1), state_cost=np.array([10.0, 1.0]), control_cost=1.0)

  def law(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    angle = np.asarray(wrapped(qpos))
    balance = -gain @ np.concatenate([angle, qvel])

    # The regulator takes over where its torque suffices.
    if abs(balance[0]) < 1 and abs(angle[0]) < 0.6:
      return balance

    # 0.2 J more than the upright rest has, since friction takes a part: the pendulum arrives with
    # some speed left.
    missing = 0.2 - _pole_energy(model, "pole", angle=angle, velocity=qvel)
    return np.clip(5 * missing, -1, 1) * np.tanh(10 * qvel)

  return law


def cartpole_swingup(model: mujoco.MjModel) -> Law:
  """Returns energy pumping with a pull to the middle (Astrom and Furuta 2000), then regulates."""
  gain = _cartpole_gain(model)

  def law(qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    angle = np.asarray(wrapped(qpos[1:]))
    balance = -gain @ np.concatenate([qpos[:1], angle, qvel])

    # The regulator takes over where a force that is little above the limit would suffice.
    if abs(balance[0]) < 1.5 and abs(angle[0]) < 0.7:
      return balance

    missing = -_pole_energy(model, "pole_1", angle=angle, velocity=qvel[1:])
    pump = np.clip(5 * missing, -0.6, 0.6) * np.tanh(5 * qvel[1:] * np.cos(angle))
    return -pump - 0.3 * qpos[:1]

  return law


def _pole_energy(
  model: mujoco.MjModel, pole: str, angle: np.ndarray, velocity: np.ndarray
) -> np.ndarray:
  """Returns the energy of a pole that is hinged at its body's origin.

  Args:
    model: The model.
    pole: Name of the pole's body.
    angle: Radians from the upright.
    velocity: Radians per second.

  Returns:
    Joules above the upright rest, negative below.
  """
  body = model.body(pole)
  height = body.ipos[2]

  # About the hinge, by the parallel axis theorem.
  inertia = body.inertia[1] + body.mass[0] * height**2

  weight = body.mass[0] * -model.opt.gravity[2]
  return 0.5 * inertia * velocity**2 + weight * height * (np.cos(angle) - 1)


LAWS: dict[str, Callable[[mujoco.MjModel], Law]] = {
  "cartpole-balance": cartpole_balance,
  "cartpole-balance_sparse": cartpole_balance,
  "cartpole-swingup": cartpole_swingup,
  "cartpole-swingup_sparse": cartpole_swingup,
  "pendulum-swingup": pendulum,
  "point_mass-easy": point_mass,
  "point_mass-hard": point_mass,
}
