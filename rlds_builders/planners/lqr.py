"""Linear-quadratic regulator of a MuJoCo model around a state at rest."""

import copy

import mujoco
import numpy as np
from scipy import linalg


def gain(
  model: mujoco.MjModel, qpos: np.ndarray, state_cost: np.ndarray, control_cost: float, substeps: int = 1
) -> np.ndarray:
  """The gain [A, 2 nv] of u = -gain @ (qpos - rest, qvel); arguments as of `regulator`."""
  return regulator(model, qpos, state_cost, control_cost, substeps)[0]


def regulator(
  model: mujoco.MjModel, qpos: np.ndarray, state_cost: np.ndarray, control_cost: float, substeps: int = 1
) -> tuple[np.ndarray, np.ndarray]:
  """Gain [A, 2 nv] and cost to go P [2 nv, 2 nv] of the infinite-horizon, discrete-time problem.

  Args:
    model: the simulated model, without activations.
    qpos: the unforced equilibrium, [nq] with nq = nv.
    state_cost: diagonal of Q, [2 nv]: positions, then velocities.
    control_cost: every entry of R's diagonal.
    substeps: physics steps for which one action is held.
  """
  model = copy.copy(model)
  model.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER  # MuJoCo differentiates no Runge-Kutta step
  data = mujoco.MjData(model)
  data.qpos[:] = qpos
  n = 2 * model.nv
  a, b = np.zeros((n, n)), np.zeros((n, model.nu))
  mujoco.mjd_transitionFD(model, data, 1e-6, True, a, b, None, None)
  held_a, held_b = np.eye(n), np.zeros_like(b)
  for _ in range(substeps):
    held_a, held_b = a @ held_a, a @ held_b + b
  r = control_cost * np.eye(model.nu)
  p = linalg.solve_discrete_are(held_a, held_b, np.diag(state_cost), r)
  return np.linalg.solve(r + held_b.T @ p @ held_b, held_b.T @ p @ held_a), p
