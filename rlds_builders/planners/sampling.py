"""Model-predictive control by sampling: MPPI over splines of actions, rolled out with mujoco.rollout on one thread.

Axes: B sampled plans, T control steps, K knots, A action dimensions.
"""

import dataclasses
from collections.abc import Callable

import mujoco
import numpy as np
from mujoco import rollout

_CALM = 0.7  # factor on the mean plan's actions in one extra sample
_FULL = mujoco.mjtState.mjSTATE_FULLPHYSICS


@dataclasses.dataclass(frozen=True)
class Settings:
  """How to plan; all times in control steps.

  Attributes:
    horizon: T, steps looked ahead.
    knot_interval: steps between the knots of the (linear) action spline.
    samples: B, rollouts per iteration.
    iterations: rounds of sampling around the improved mean, per plan.
    noise: standard deviation of the knots, as a share of half the action range.
    temperature: softness of the average over samples, in standard deviations of their scores.
    replan_interval: steps between plans; the spline's mean is executed in between.
    control_cost: weight of the mean squared action.
    change_cost: weight of the mean squared difference between neighbouring knots: experts that move smoothly are
      easier to imitate.
  """

  horizon: int
  knot_interval: int
  samples: int = 32
  iterations: int = 1
  noise: float = 0.4
  temperature: float = 0.3
  replan_interval: int = 2
  control_cost: float = 0.0
  change_cost: float = 0.0


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
  states, sensors = rollout.rollout(model, data, np.ascontiguousarray(initial), control)
  after = states[:, substeps - 1 : -1 : substeps]
  return Trajectories(
    model=model,
    qpos=after[..., 1 : 1 + model.nq],
    qvel=after[..., 1 + model.nq : 1 + model.nq + model.nv],
    sensors=sensors[:, substeps::substeps],
    actions=actions,
  )


def full_state(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
  """The physics state from which simulate() starts."""
  state = np.empty(mujoco.mj_stateSize(model, _FULL))
  mujoco.mj_getState(model, data, state, _FULL)
  return state


class SamplingPlanner:
  """Replans every few steps from the physics state, warm-started by the last plan; executes the mean, no noise.

  Args:
    model: the environment's own model (randomised parameters included).
    score: Trajectories -> score of each step [B, T], higher is better: the reward plus any shaping.
    settings: see Settings.
    substeps: physics steps per control step.
  """

  def __init__(
    self, model: mujoco.MjModel, score: Callable[[Trajectories], np.ndarray], settings: Settings, substeps: int
  ):
    self._model = model
    self._data = mujoco.MjData(model)
    self._score = score
    self._settings = settings
    self._substeps = substeps
    self._low, self._high = model.actuator_ctrlrange.T.copy()
    steps = np.arange(settings.horizon)
    self._knot_times = np.arange(0, settings.horizon + settings.knot_interval, settings.knot_interval)
    self._spline = _interpolation(steps, self._knot_times)  # [T, K]
    self._shift = _interpolation(self._knot_times + settings.replan_interval, self._knot_times)  # [K, K]
    self.reset(0)

  def reset(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)
    self._knots = np.tile((self._low + self._high) / 2, (len(self._knot_times), 1))
    self._step = 0

  def act(self, data: mujoco.MjData) -> np.ndarray:
    """The next action [A] for the state in `data`, which is one control step after that of the last call."""
    since = self._step % self._settings.replan_interval
    if since == 0:
      if self._step:
        self._knots = self._shift @ self._knots
      self._plan(full_state(self._model, data))
    self._step += 1
    return np.clip(self._spline[since] @ self._knots, self._low, self._high)

  def _plan(self, state: np.ndarray) -> None:
    s = self._settings
    half_range = (self._high - self._low) / 2
    for _ in range(s.iterations):
      noise = self._random.standard_normal((s.samples // 2, *self._knots.shape)) * (s.noise * half_range)
      # Antithetic pairs; the mean itself first, and a calmer version of it.
      knots = self._knots + np.concatenate([np.zeros_like(noise[:1]), noise, -noise])
      knots = np.concatenate([np.clip(knots, self._low, self._high), _CALM * self._knots[None]])
      scores = self._evaluate(state, knots)
      weights = np.exp((scores - scores.max()) / (s.temperature * scores.std() + 1e-9))
      # Only what beats the mean moves it: at the goal the actions settle instead of following the noise.
      weights = weights * (scores >= scores[0])
      self._knots = np.einsum("b,bka->ka", weights / weights.sum(), knots)

  def _evaluate(self, state: np.ndarray, knots: np.ndarray) -> np.ndarray:
    s = self._settings
    actions = np.einsum("tk,bka->bta", self._spline, knots)
    scores = self._score(simulate(self._model, self._data, state, actions, self._substeps)).mean(axis=1)
    if s.control_cost:
      scores = scores - s.control_cost * np.square(actions).mean(axis=(1, 2))
    if s.change_cost:
      scores = scores - s.change_cost * np.square(np.diff(knots, axis=1)).mean(axis=(1, 2))
    return scores


def _interpolation(times: np.ndarray, knot_times: np.ndarray) -> np.ndarray:
  """[len(times), K]: weights of the knots at the times, linear between knots and constant after the last."""
  return np.stack([np.interp(times, knot_times, row) for row in np.eye(len(knot_times))], axis=1)
