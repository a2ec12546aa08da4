"""Model-predictive control by sampling splines of actions.

It is MPPI; with `elites` it is CEM, and with a temperature of 0 predictive sampling.

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

# Factor on the mean plan's actions in one extra sample.
_CALM = 0.7

# Share of the initial noise that CEM keeps.
_MIN_NOISE = 0.1

# Share of the elites' spread in CEM's next noise.
_COVARIANCE_RATE = 0.5


@dataclasses.dataclass(frozen=True)
class Settings:
  """Settings of a planner; all times are in control steps.

  Attributes:
    horizon: T, steps to look ahead.
    knot_interval: Steps between the knots of the action spline.
    samples: B, rollouts per iteration.
    iterations: Rounds of sampling around the improved mean, per plan.
    noise: Standard deviation of the knots, as a share of half the action range.
    spread: Ratio of the largest to the smallest noise among the samples; `noise` is the largest.
    fresh: Share of the samples drawn around the middle of the action range instead of the last
      plan.
    temperature: Softness of the average over samples, in standard deviations of their scores; 0
      takes the best sample.
    elites: 0 averages as MPPI does; otherwise CEM, which averages this many best samples and
      learns the noise from them.
    spline: "linear" or "cubic".
    replan_interval: Steps between plans; the spline's mean is executed in between.
    coarse: Factor by which physics steps are longer while planning; it must divide the physics
      steps per control step.
    control_cost: Weight of the mean squared action.
    change_cost: Weight of the mean squared difference between neighbouring knots: experts that
      move smoothly are easier to imitate.
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
  """Replans every few steps from the physics state, starting from the last plan.

  The mean of a plan is executed, without noise.

  Args:
    model: The environment's own model (randomised parameters included) or one of the same
      physics.
    score: Function Trajectories -> score of each step [B, T], higher is better: the reward plus
      any shaping.
    settings: See Settings.
    substeps: Physics steps per control step.
    law: Function (qpos, qvel) -> action [A]. Plans are then differences from the law's actions,
      and the law alone acts where no plan scores better.
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

    # A difference from a law's action may be as large as the whole action range.
    self._low, self._high = model.actuator_ctrlrange.T.copy()
    if law:
      self._middle = np.zeros_like(self._low)
      reach = self._high - self._low
    else:
      self._middle = (self._low + self._high) / 2
      reach = (self._high - self._low) / 2
    self._min_knot = self._middle - reach
    self._max_knot = self._middle + reach

    interval = settings.knot_interval
    self._knot_times = np.arange(0, settings.horizon + interval, interval)

    # Weights of the knots: [T, K] at each step, and [K, K] at the knots of the next plan.
    steps = np.arange(settings.horizon)
    next_times = self._knot_times + settings.replan_interval
    self._spline = _interpolation(steps, self._knot_times, settings.spline)
    self._shift = _interpolation(next_times, self._knot_times, settings.spline)
    self.reset(0)

  def reset(self, seed: int) -> None:
    """Forgets the plan and reads the model's parameters anew.

    Args:
      seed: Seed of the samples.
    """
    self._model = self._source
    if self._settings.coarse > 1:
      self._model = copy.copy(self._source)
      self._model.opt.timestep *= self._settings.coarse
    self._data = mujoco.MjData(self._model)

    self._random = randomness.generator("planner", seed)
    knot_count = len(self._knot_times)
    self._knots = np.tile(self._middle, (knot_count, 1))
    self._noise = np.tile(self._initial_noise(), (knot_count, 1))
    self._step = 0

  def _initial_noise(self) -> np.ndarray:
    return self._settings.noise * (self._high - self._low) / 2

  def act(self, data: mujoco.MjData) -> np.ndarray:
    """Returns the next action [A].

    Args:
      data: State of the environment, one control step after that of the last call.
    """
    steps_since_plan = self._step % self._settings.replan_interval
    if steps_since_plan == 0:
      if self._step:
        # The last plan, seen from the present, is where sampling starts.
        self._knots = np.clip(self._shift @ self._knots, self._min_knot, self._max_knot)
        # A cubic spline may swing below zero.
        self._noise = np.clip(self._shift @ self._noise, 0, None)
      self._plan(full_state(self._model, data))
    self._step += 1

    action = self._spline[steps_since_plan] @ self._knots
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
    """Returns plans [B, K, A]: the mean, antithetic pairs around it, and a calmer mean."""
    settings = self._settings
    half = settings.samples // 2

    scales: np.ndarray | float = 1.0
    if settings.spread > 1:
      scales = np.geomspace(1 / settings.spread, 1, half)[:, None, None]
    noise = self._random.standard_normal((half, *self._knots.shape)) * scales * self._noise

    around = np.broadcast_to(self._knots, noise.shape).copy()
    if settings.fresh:
      around[-round(settings.fresh * half) :] = self._middle

    # The mean comes first, where _move expects it.
    knots = np.concatenate([self._knots[None], around + noise, around - noise])
    clipped = np.clip(knots, self._min_knot, self._max_knot)
    return np.concatenate([clipped, _CALM * self._knots[None]])

  def _move(self, knots: np.ndarray, scores: np.ndarray) -> None:
    """Averages the samples, weighted by their scores, as MPPI does."""
    temperature = self._settings.temperature * scores.std() + 1e-9
    # Only samples that beat the mean move it: at the goal the actions settle instead of following
    # the noise.
    weights = np.exp((scores - scores.max()) / temperature) * (scores >= scores[0])
    self._knots = np.einsum("b,bka->ka", weights / weights.sum(), knots)

  def _move_to_elites(self, knots: np.ndarray, scores: np.ndarray) -> None:
    """Averages the best samples and learns the noise from them, as CEM does."""
    best = knots[np.argsort(-scores)[: self._settings.elites]]
    self._knots = best.mean(axis=0)

    initial = self._initial_noise()
    learned = (1 - _COVARIANCE_RATE) * self._noise + _COVARIANCE_RATE * best.std(axis=0)
    self._noise = np.clip(learned, _MIN_NOISE * initial, initial)

  def _law_actions(self, state: np.ndarray) -> np.ndarray:
    """Returns what the law does from a state on, [T, A]."""
    assert self._law is not None
    data = self._data
    mujoco.mj_setState(self._model, data, state, mujoco.mjtState.mjSTATE_FULLPHYSICS)

    actions = np.empty((self._settings.horizon, len(self._low)))
    for t in range(len(actions)):
      action = np.clip(self._law(data.qpos, data.qvel), self._low, self._high)
      actions[t] = action
      data.ctrl[:] = action
      mujoco.mj_step(self._model, data, self._substeps)
    return actions

  def _evaluate(self, state: np.ndarray, knots: np.ndarray, base: np.ndarray | float) -> np.ndarray:
    """Returns the mean score of each plan, [B].

    Args:
      state: Full physics state.
      knots: [B, K, A].
      base: Actions to which the plans are added: those of the law, [T, A], or 0.
    """
    settings = self._settings
    planned = base + np.einsum("tk,bka->bta", self._spline, knots)
    actions = np.clip(planned, self._low, self._high)
    trajectories = simulate(
      self._model, self._data, state=state, actions=actions, substeps=self._substeps
    )

    scores = self._score(trajectories).mean(axis=1)
    if settings.control_cost:
      scores = scores - settings.control_cost * np.square(actions).mean(axis=(1, 2))
    if settings.change_cost:
      changes = np.diff(knots, axis=1)
      scores = scores - settings.change_cost * np.square(changes).mean(axis=(1, 2))
    return scores


def _interpolation(times: np.ndarray, knot_times: np.ndarray, spline: str) -> np.ndarray:
  """Returns the weights [len(times), K] of the knots, constant after the last knot."""
  times = np.minimum(times, knot_times[-1])
  # Interpolating the rows of a unit matrix gives each knot's weight.
  unit = np.eye(len(knot_times))
  if spline == "cubic":
    return interpolate.CubicSpline(knot_times, unit, bc_type="natural")(times)
  return np.stack([np.interp(times, knot_times, row) for row in unit], axis=1)
