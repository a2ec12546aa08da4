"""Linear-quadratic regulator of a MuJoCo model around a state at rest."""

import copy

import mujoco
import numpy as np
from scipy import linalg


def gain(
  model: mujoco.MjModel,
  qpos: np.ndarray,
  state_cost: np.ndarray,
  control_cost: float,
  substeps: int = 1,
) -> np.ndarray:
  """Returns the gain [A, 2 nv] of u = -gain @ (qpos - rest, qvel).

  The arguments are those of `regulator`.
  """
  k, _ = regulator(model, qpos, state_cost, control_cost=control_cost, substeps=substeps)
  return k


def regulator(
  model: mujoco.MjModel,
  qpos: np.ndarray,
  state_cost: np.ndarray,
  control_cost: float,
  substeps: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
  """Solves the infinite-horizon, discrete-time problem.

  Args:
    model: The simulated model, without activations.
    qpos: The unforced equilibrium, [nq] with nq = nv.
    state_cost: Diagonal of Q, [2 nv]: positions, then velocities.
    control_cost: Every entry of R's diagonal.
    substeps: Physics steps for which one action is held.

  Returns:
    Gain K [A, 2 nv] and cost to go P [2 nv, 2 nv].
  """
  # MuJoCo cannot differentiate a Runge-Kutta step.
  model = copy.copy(model)
  model.opt.integrator = mujoco.mjtIntegrator.mjINT_EULER
  data = mujoco.MjData(model)
  data.qpos[:] = qpos

  # x' = a x + b u for one physics step, by central differences.
  n = 2 * model.nv
  a = np.zeros((n, n))
  b = np.zeros((n, model.nu))
  mujoco.mjd_transitionFD(model, data, 1e-6, True, a, b, None, None)

  # The same for `substeps` of them with one action.
  held_a = np.eye(n)
  held_b = np.zeros_like(b)
  for _ in range(substeps):
    held_a = a @ held_a
    held_b = a @ held_b + b

  r = control_cost * np.eye(model.nu)
  p = linalg.solve_discrete_are(held_a, held_b, np.diag(state_cost), r)
  k = np.linalg.solve(r + held_b.T @ p @ held_b, held_b.T @ p @ held_a)
  return k, p
