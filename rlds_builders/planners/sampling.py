"""Model-predictive control by sampling splines of actions: MPPI, CEM (`elites`), predictive sampling (temperature 0).

Axes: B sampled plans, T control steps, K knots, A action dimensions.
"""

import copy
import dataclasses
from collections.abc import Callable

import mujoco
import numpy as np
from scipy import interpolate

from gato_jax import randomness
from rlds_builders.planners.rollouts import Trajectories, full_state, simulate

_CALM = 0.7  # factor on the mean plan's actions in one extra sample
_MIN_NOISE = 0.1  # CEM keeps this share of the first noise
_COVARIANCE_RATE = 0.5  # share of the elites' spread in CEM's next noise


@dataclasses.dataclass(frozen=True)
class Settings:
  """How to plan; all times in control steps.

  Attributes:
    horizon: T, steps looked ahead.
    knot_interval: steps between the knots of the action spline.
    samples: B, rollouts per iteration.
    iterations: rounds of sampling around the improved mean, per plan.
    noise: standard deviation of the knots, as a share of half the action range.
    spread: ratio of the largest to the smallest noise among the samples; `noise` is the largest.
    fresh: share of the samples drawn around the middle of the action range instead of the last plan.
    temperature: softness of the average over samples, in standard deviations of their scores; 0 takes the best sample.
    elites: 0 averages as MPPI does; otherwise CEM, averaging so many best samples and learning the noise from them.
    spline: "linear" or "cubic".
    replan_interval: steps between plans; the spline's mean is executed in between.
    coarse: physics steps are made so many times longer while planning; divides the steps per control step.
    control_cost: weight of the mean squared action.
    change_cost: weight of the mean squared difference between neighbouring knots: experts that move smoothly are
      easier to imitate.
  """

  horizon: int
  knot_interval: int
  samples: int = 32
  iterations: int = 1
  noise: float = 0.4
  spread: float = 1.0
  fresh: float = 0.0
  temperature: float = 0.3
  elites: int = 0
  spline: str = "linear"
  replan_interval: int = 2
  coarse: int = 1
  control_cost: float = 0.0
  change_cost: float = 0.0


class SamplingPlanner:
  """Replans every few steps from the physics state, warm-started by the last plan; executes the mean, no noise.

  Args:
    model: the environment's own model (randomised parameters included) or one of the same physics.
    score: Trajectories -> score of each step [B, T], higher is better: the reward plus any shaping.
    settings: see Settings.
    substeps: physics steps per control step.
    law: (qpos, qvel) -> action [A]. Plans are then differences from what the law would do, and it alone acts where
      no plan scores better.
  """

  def __init__(
    self,
    model: mujoco.MjModel,
    score: Callable[[Trajectories], np.ndarray],
    settings: Settings,
    substeps: int,
    law: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
  ):
    self._source = model
    self._score = score
    self._settings = settings
    self._substeps = substeps // settings.coarse
    self._law = law
    self._low, self._high = model.actuator_ctrlrange.T.copy()
    self._middle = np.zeros_like(self._low) if law else (self._low + self._high) / 2
    reach = self._high - self._low if law else (self._high - self._low) / 2
    self._min_knot, self._max_knot = self._middle - reach, self._middle + reach
    steps = np.arange(settings.horizon)
    self._knot_times = np.arange(0, settings.horizon + settings.knot_interval, settings.knot_interval)
    self._spline = _interpolation(steps, self._knot_times, settings.spline)  # [T, K]
    self._shift = _interpolation(self._knot_times + settings.replan_interval, self._knot_times, settings.spline)
    self.reset(0)

  def reset(self, seed: int) -> None:
    """Forgets the plan and reads the model's parameters anew."""
    self._model = self._source
    if self._settings.coarse > 1:
      self._model = copy.copy(self._source)
      self._model.opt.timestep *= self._settings.coarse
    self._data = mujoco.MjData(self._model)
    self._random = randomness.generator("planner", seed)
    self._knots = np.tile(self._middle, (len(self._knot_times), 1))
    self._noise = np.tile(self._settings.noise * (self._high - self._low) / 2, (len(self._knot_times), 1))
    self._step = 0

  def act(self, data: mujoco.MjData) -> np.ndarray:
    """The next action [A] for the state in `data`, which is one control step after that of the last call."""
    since = self._step % self._settings.replan_interval
    if since == 0:
      if self._step:
        self._knots = np.clip(self._shift @ self._knots, self._min_knot, self._max_knot)
        self._noise = np.clip(self._shift @ self._noise, 0, None)
      self._plan(full_state(self._model, data))
    self._step += 1
    action = self._spline[since] @ self._knots
    if self._law:
      action = action + self._law(data.qpos, data.qvel)
    return np.clip(action, self._low, self._high)

  def _plan(self, state: np.ndarray) -> None:
    base = self._law_actions(state) if self._law else 0.0
    for _ in range(self._settings.iterations):
      knots = self._samples()
      scores = self._evaluate(state, knots, base)
      if self._settings.elites:
        self._move_to_elites(knots, scores)
      else:
        self._move(knots, scores)

  def _samples(self) -> np.ndarray:
    """Plans [B, K, A]: the mean itself, antithetic pairs around it, and a calmer version of it."""
    s = self._settings
    half = s.samples // 2
    scales = np.geomspace(1 / s.spread, 1, half)[:, None, None] if s.spread > 1 else 1.0
    noise = self._random.standard_normal((half, *self._knots.shape)) * scales * self._noise
    around = np.broadcast_to(self._knots, noise.shape).copy()
    if s.fresh:
      around[-round(s.fresh * half) :] = self._middle
    knots = np.concatenate([self._knots[None], around + noise, around - noise])
    return np.concatenate([np.clip(knots, self._min_knot, self._max_knot), _CALM * self._knots[None]])

  def _move(self, knots: np.ndarray, scores: np.ndarray) -> None:
    temperature = self._settings.temperature * scores.std() + 1e-9
    # Only what beats the mean moves it: at the goal the actions settle instead of following the noise.
    weights = np.exp((scores - scores.max()) / temperature) * (scores >= scores[0])
    self._knots = np.einsum("b,bka->ka", weights / weights.sum(), knots)

  def _move_to_elites(self, knots: np.ndarray, scores: np.ndarray) -> None:
    best = knots[np.argsort(-scores)[: self._settings.elites]]
    self._knots = best.mean(axis=0)
    first = self._settings.noise * (self._high - self._low) / 2
    learned = (1 - _COVARIANCE_RATE) * self._noise + _COVARIANCE_RATE * best.std(axis=0)
    self._noise = np.clip(learned, _MIN_NOISE * first, first)

  def _law_actions(self, state: np.ndarray) -> np.ndarray:
    """[T, A]: what the law does from `state` on."""
    data = self._data
    mujoco.mj_setState(self._model, data, state, mujoco.mjtState.mjSTATE_FULLPHYSICS)
    actions = np.empty((self._settings.horizon, len(self._low)))
    for action in actions:
      action[:] = data.ctrl[:] = np.clip(self._law(data.qpos, data.qvel), self._low, self._high)
      mujoco.mj_step(self._model, data, self._substeps)
    return actions

  def _evaluate(self, state: np.ndarray, knots: np.ndarray, base: np.ndarray | float) -> np.ndarray:
    s = self._settings
    actions = np.clip(base + np.einsum("tk,bka->bta", self._spline, knots), self._low, self._high)
    scores = self._score(simulate(self._model, self._data, state, actions, self._substeps)).mean(axis=1)
    if s.control_cost:
      scores = scores - s.control_cost * np.square(actions).mean(axis=(1, 2))
    if s.change_cost:
      scores = scores - s.change_cost * np.square(np.diff(knots, axis=1)).mean(axis=(1, 2))
    return scores


def _interpolation(times: np.ndarray, knot_times: np.ndarray, spline: str) -> np.ndarray:
  """[len(times), K]: weights of the knots at the times, constant after the last knot."""
  times = np.minimum(times, knot_times[-1])
  if spline == "cubic":
    return interpolate.CubicSpline(knot_times, np.eye(len(knot_times)), bc_type="natural")(times)
  return np.stack([np.interp(times, knot_times, row) for row in np.eye(len(knot_times))], axis=1)
