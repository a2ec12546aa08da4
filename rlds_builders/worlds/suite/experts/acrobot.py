"""Acrobot: plans the swing-up into the regulator's basin, where the regulator takes over.

Axes: B rollouts, T control steps; leading axes "..." are free.
"""

import mujoco
import numpy as np

from rlds_builders.planners import lqr
from rlds_builders.planners.rollouts import Trajectories
from rlds_builders.planners.sampling import Settings
from rlds_builders.worlds.radians import wrapped
from rlds_builders.worlds.suite.experts import rewards

SETTINGS = Settings(
  horizon=100, knot_interval=10, samples=64, noise=1.5, spread=6, temperature=0.05
)

# The basin of attraction is larger by so much than the ellipsoid in which the regulator's torque
# stays below the limit.
_BASIN_SCALE = 2.0

# Score of every step from the first one in the basin on; larger than any other score.
_CAUGHT_SCORE = 3.0


class Basin:
  """States from which the linear-quadratic regulator balances both arms, and a score for others."""

  def __init__(self, model: mujoco.MjModel):
    state_cost = np.array([10.0, 10.0, 1.0, 1.0])
    self._gain, self._cost = lqr.regulator(
      model, np.zeros(2), state_cost=state_cost, control_cost=1.0
    )

    # The cost x' P x at which the regulator's torque first reaches the limit of 1.
    self._limit_cost = 1 / (self._gain @ np.linalg.solve(self._cost, self._gain.T))[0, 0]

    self._upper, self._lower = model.body("upper_arm"), model.body("lower_arm")
    self._gravity = -model.opt.gravity[2]
    self._upright_energy = self._energy(np.zeros(2), np.zeros(2))

  def contains(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """True for states [..., 2] and [..., 2] in the basin, bool [...]."""
    return self._distance(qpos, qvel) < _BASIN_SCALE

  def law(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Returns the regulator's torque for a state, [1]."""
    return -self._gain @ np.concatenate([wrapped(qpos), qvel])

  def score(self, t: Trajectories) -> np.ndarray:
    """Returns the score of each step, [B, T]: the reward, and slopes towards the basin."""
    distance = self._distance(t.qpos, t.qvel)
    height = t.sensor("tip.pos")[..., 2] / t.sensor("target.pos")[..., 2]
    energy_error = np.abs(self._energy(t.qpos, t.qvel) / self._upright_energy - 1)
    slope = rewards.acrobot(t) + 0.3 * height - 0.5 * energy_error + 0.5 / (1 + distance / 30)

    # Once a rollout has been in the basin, the regulator would have taken over.
    is_caught = np.maximum.accumulate(distance < _BASIN_SCALE, axis=1)
    return np.where(is_caught, _CAUGHT_SCORE, slope)

  def _distance(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Returns the cost to go [...], in units of the cost at which the torque reaches its limit."""
    state = np.concatenate([wrapped(qpos), qvel], axis=-1)
    return np.einsum("...i,ij,...j->...", state, self._cost, state) / self._limit_cost

  def _energy(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Returns the energy in joules [...]; potential energy is 0 with both arms horizontal."""
    # Joints are relative to each other: sums are angles of both arms against the vertical.
    angle, velocity = np.cumsum(qpos, axis=-1), np.cumsum(qvel, axis=-1)

    upper, lower = self._upper, self._lower
    m1, m2 = upper.mass[0], lower.mass[0]
    c1, c2 = upper.ipos[2], lower.ipos[2]  # centres of mass, from the joints
    length = lower.pos[2]

    # Moments of inertia about the joints, by the parallel axis theorem.
    i1, i2 = upper.inertia[1] + m1 * c1**2, lower.inertia[1] + m2 * c2**2

    cosine = np.cos(angle[..., 1] - angle[..., 0])
    coupled = 2 * m2 * length * c2 * velocity[..., 0] * velocity[..., 1] * cosine
    kinetic = 0.5 * (
      (i1 + m2 * length**2) * velocity[..., 0] ** 2 + i2 * velocity[..., 1] ** 2 + coupled
    )

    # Mass times height.
    moment = (m1 * c1 + m2 * length) * np.cos(angle[..., 0]) + m2 * c2 * np.cos(angle[..., 1])
    return kinetic + self._gravity * moment
