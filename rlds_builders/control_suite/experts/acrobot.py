"""Acrobot: plan the swing-up into the regulator's basin, then regulate."""

import mujoco
import numpy as np

from rlds_builders._angles import wrapped
from rlds_builders.control_suite.experts import rewards
from rlds_builders.planners import lqr
from rlds_builders.planners.rollouts import Trajectories
from rlds_builders.planners.sampling import Settings

SETTINGS = Settings(horizon=100, knot_interval=10, samples=64, noise=1.5, spread=6, temperature=0.05)

_SLACK = 2.0  # the basin is so much larger than the ellipsoid in which the regulator's torque suffices
_CAUGHT = 3.0  # a step's score from the first one in the basin on; more than any other


class Basin:
  """Where the linear-quadratic regulator balances both arms, and the slopes that lead there."""

  def __init__(self, model: mujoco.MjModel):
    self._gain, self._cost = lqr.regulator(model, np.zeros(2), np.array([10.0, 10.0, 1.0, 1.0]), 1.0)
    # x' P x where the regulator first asks for the whole torque.
    self._enough = 1 / (self._gain @ np.linalg.solve(self._cost, self._gain.T))[0, 0]
    self._upper, self._lower = model.body("upper_arm"), model.body("lower_arm")
    self._gravity = -model.opt.gravity[2]
    self._top = self._energy(np.zeros(2), np.zeros(2))

  def contains(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    return self._distance(qpos, qvel) < _SLACK

  def law(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    return -self._gain @ np.concatenate([wrapped(qpos), qvel])

  def score(self, t: Trajectories) -> np.ndarray:
    distance = self._distance(t.qpos, t.qvel)
    height = t.sensor("tip.pos")[..., 2] / t.sensor("target.pos")[..., 2]
    energy = np.abs(self._energy(t.qpos, t.qvel) / self._top - 1)
    slope = rewards.acrobot(t) + 0.3 * height - 0.5 * energy + 0.5 / (1 + distance / 30)
    return np.where(np.maximum.accumulate(distance < _SLACK, axis=1), _CAUGHT, slope)

  def _distance(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    state = np.concatenate([wrapped(qpos), qvel], axis=-1)
    return np.einsum("...i,ij,...j->...", state, self._cost, state) / self._enough

  def _energy(self, qpos: np.ndarray, qvel: np.ndarray) -> np.ndarray:
    """Joules, against both arms level with the shoulder."""
    angle, turn = np.cumsum(qpos, axis=-1), np.cumsum(qvel, axis=-1)  # of both arms against the vertical
    (m1, m2), (c1, c2) = ((b.mass[0] for b in self._arms), (b.ipos[2] for b in self._arms))
    length = self._lower.pos[2]
    i1, i2 = self._upper.inertia[1] + m1 * c1**2, self._lower.inertia[1] + m2 * c2**2
    coupled = 2 * m2 * length * c2 * turn[..., 0] * turn[..., 1] * np.cos(angle[..., 1] - angle[..., 0])
    kinetic = 0.5 * ((i1 + m2 * length**2) * turn[..., 0] ** 2 + i2 * turn[..., 1] ** 2 + coupled)
    height = (m1 * c1 + m2 * length) * np.cos(angle[..., 0]) + m2 * c2 * np.cos(angle[..., 1])
    return kinetic + self._gravity * height

  @property
  def _arms(self) -> tuple:
    return self._upper, self._lower
