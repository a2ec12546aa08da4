"""Many rollouts of a MuJoCo model at once, with mujoco.rollout on one thread.

Axes: B rollouts, T control steps, A action dimensions.
"""

import dataclasses

import mujoco
import numpy as np
from mujoco import rollout

_FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS


@dataclasses.dataclass(frozen=True)
class Trajectories:
  """States after each control step: qpos [B, T, nq], qvel [B, T, nv], sensors [B, T, ns]; actions [B, T, A]."""

  model: mujoco.MjModel
  qpos: np.ndarray
  qvel: np.ndarray
  sensors: np.ndarray
  actions: np.ndarray

  def sensor(self, name: str) -> np.ndarray:
    """[B, T, dimension of the sensor]."""
    sensor = self.model.sensor(name)
    return self.sensors[..., sensor.adr[0] : sensor.adr[0] + sensor.dim[0]]


def simulate(
  model: mujoco.MjModel, data: mujoco.MjData, state: np.ndarray, actions: np.ndarray, substeps: int
) -> Trajectories:
  """Rolls out actions [B, T, A] from one full physics state; each action is held for `substeps` physics steps."""
  control = np.repeat(actions, substeps, axis=1)
  # mj_step evaluates sensors before it integrates, so one more physics step yields those of the last state.
  control = np.concatenate([control, control[:, -1:]], axis=1)
  initial = np.broadcast_to(state, (len(actions), len(state)))
  states, every = rollout.rollout(model, data, np.ascontiguousarray(initial), control)
  after = states[:, substeps - 1 : -1 : substeps]
  sensors = every[:, substeps::substeps]
  # dm_control ends a step with positions and velocities: its forces are those that led there, of one physics step ago.
  forces = np.repeat(model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC, model.sensor_dim)
  if forces.any():
    sensors = np.where(forces, every[:, substeps - 1 : -1 : substeps], sensors)
  return Trajectories(
    model=model,
    qpos=after[..., 1 : 1 + model.nq],
    qvel=after[..., 1 + model.nq : 1 + model.nq + model.nv],
    sensors=sensors,
    actions=actions,
  )


def full_state(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
  """The physics state from which simulate() starts."""
  state = np.empty(mujoco.mj_stateSize(model, _FULL))
  mujoco.mj_getState(model, data, state, _FULL)
  return state
