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
  """States after each control step, and the actions that led there.

  Attributes:
    model: The simulated model.
    qpos: [B, T, nq].
    qvel: [B, T, nv].
    sensors: [B, T, ns], all sensors one after the other.
    actions: [B, T, A].
  """

  model: mujoco.MjModel
  qpos: np.ndarray
  qvel: np.ndarray
  sensors: np.ndarray
  actions: np.ndarray

  def sensor(self, name: str) -> np.ndarray:
    """Returns the values of one sensor, [B, T, dimension of the sensor]."""
    sensor = self.model.sensor(name)
    first = sensor.adr[0]
    return self.sensors[..., first : first + sensor.dim[0]]


def simulate(
  model: mujoco.MjModel, data: mujoco.MjData, state: np.ndarray, actions: np.ndarray, substeps: int
) -> Trajectories:
  """Rolls out sequences of actions from one state.

  Args:
    model: The simulated model.
    data: Scratch data of the model.
    state: Full physics state, as `full_state` returns it.
    actions: [B, T, A].
    substeps: Physics steps for which each action is held.
  """
  # mj_step evaluates sensors before it integrates, so one more physics step yields those of the
  # last state.
  control = np.repeat(actions, substeps, axis=1)
  control = np.concatenate([control, control[:, -1:]], axis=1)

  initial = np.ascontiguousarray(np.broadcast_to(state, (len(actions), len(state))))
  states, all_sensors = rollout.rollout(model, data, initial, control)

  # states[:, i] is the state after physics step i, all_sensors[:, i] the sensors before it. Hence
  # the last state of a control step is one index earlier than its sensors.
  states_after = states[:, substeps - 1 : -1 : substeps]
  sensors = all_sensors[:, substeps::substeps]

  # dm_control ends a step with positions and velocities: its forces are those that led there, of
  # one physics step earlier.
  is_force = np.repeat(model.sensor_needstage == mujoco.mjtStage.mjSTAGE_ACC, model.sensor_dim)
  if is_force.any():
    sensors = np.where(is_force, all_sensors[:, substeps - 1 : -1 : substeps], sensors)

  # A full physics state is the time, qpos, qvel, ...
  return Trajectories(
    model=model,
    qpos=states_after[..., 1 : 1 + model.nq],
    qvel=states_after[..., 1 + model.nq : 1 + model.nq + model.nv],
    sensors=sensors,
    actions=actions,
  )


def full_state(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
  """Returns the physics state from which `simulate` starts."""
  state = np.empty(mujoco.mj_stateSize(model, _FULL))
  mujoco.mj_getState(model, data, state, _FULL)
  return state
