"""Compares runs of a sweep beside the law: schedules, learning rates, and losses with scores."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import scipy.optimize
import scipy.stats

from experiments.analysis.scaling import bootstrap, family
from experiments.analysis.scaling.points import ScalingPoint

_LEAST_PLAYED = 4  # points that a curve of two constants is fitted to
_STANDARD_ERRORS = 2.0  # apart are two losses that differ


@dataclasses.dataclass(frozen=True)
class ScheduleDifference:
  """The difference between two schedules, over runs that differ in nothing else.

  Attributes:
    pairs: Number of pairs.
    mean: Mean of log(loss with a cosine / loss with the sweep's schedule).
    low: Lower end of its 95 % interval, by Student's t.
    high: Upper end.
  """

  pairs: int
  mean: float
  low: float
  high: float


@dataclasses.dataclass(frozen=True)
class RateProfile:
  """Losses of one network at several learning rates.

  Attributes:
    width: Of the network.
    tokens: Of each run.
    rates: Factors of the sweep's peak learning rate, ascending.
    losses: [rates], means over seeds.
    best: Factor at the minimum of a parabola in its logarithm through the lowest loss and its
      neighbours; None where the lowest loss is at an end.
  """

  width: int
  tokens: int
  rates: tuple[float, ...]
  losses: tuple[float, ...]
  best: float | None


@dataclasses.dataclass(frozen=True)
class ScoreCurve:
  """Score over loss: 100 / (1 + exp((loss - middle) / scale)), in per cent of the expert.

  Attributes:
    middle: Loss at a score of 50.
    scale: Nats over which the score falls.
    draws: (middle, scale) of fits to resampled points.
    error: Root mean square of measured minus fitted scores.
  """

  middle: float
  scale: float
  draws: tuple[tuple[float, float], ...]
  error: float

  def __call__(self, losses: np.ndarray | float) -> np.ndarray:
    """Returns the scores at losses."""
    return _curve(np.asarray(losses, float), self.middle, self.scale)

  def interval(self, losses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the interval (bootstrap.LEVEL) of the curve at losses."""
    return bootstrap.percentiles(np.array([_curve(losses, *draw) for draw in self.draws]))


def schedules(points: Sequence[ScalingPoint]) -> ScheduleDifference | None:
  """Compares runs with a cosine each with those that share a stable part; None without pairs."""
  by_schedule: dict[str, dict[tuple, float]] = {}
  for point in points:
    key = (point.family, point.parameters, point.tokens, point.seed, point.rate)
    by_schedule.setdefault(point.schedule, {})[key] = point.loss

  cosine, others = by_schedule.get("cosine", {}), by_schedule.get("wsd", {})
  differences = [np.log(cosine[key] / others[key]) for key in cosine if key in others]
  if len(differences) < 2:
    return None

  mean = float(np.mean(differences))
  error = float(scipy.stats.sem(differences))
  low, high = scipy.stats.t.interval(0.95, len(differences) - 1, mean, error)
  return ScheduleDifference(len(differences), mean, float(low), float(high))


def rates(points: Sequence[ScalingPoint]) -> list[RateProfile]:
  """Returns the networks that were trained at three learning rates or more, by width."""
  groups: dict[tuple[int, int], dict[float, list[float]]] = {}
  for point in points:
    if point.family == family.NAME:
      of_rate = groups.setdefault((point.width, point.tokens), {})
      of_rate.setdefault(point.rate, []).append(point.loss)

  profiles = []
  for (width, tokens), by_rate in sorted(groups.items()):
    if len(by_rate) >= 3:
      factors = tuple(sorted(by_rate))
      losses = tuple(float(np.mean(by_rate[factor])) for factor in factors)
      profiles.append(RateProfile(width, tokens, factors, losses, _best_rate(factors, losses)))
  return profiles


def score_curve(
  points: Sequence[ScalingPoint], draws: int = 200, seed: int = 0
) -> ScoreCurve | None:
  """Fits the scores of the runs that were played; None where they are too few."""
  played = [point for point in points if point.score is not None]
  if len(played) < _LEAST_PLAYED:
    return None

  losses = np.array([point.loss for point in played])
  scores = np.array([point.score for point in played], float)
  middle, scale = _fit_curve(losses, scores)

  random = np.random.default_rng(seed)
  resampled = []
  for _ in range(draws):
    chosen = random.integers(len(losses), size=len(losses))
    resampled.append(_fit_curve(losses[chosen], scores[chosen]))

  error = float(np.sqrt(np.mean((scores - _curve(losses, middle, scale)) ** 2)))
  return ScoreCurve(middle, scale, tuple(resampled), error)


def disagreements(
  points: Sequence[ScalingPoint], noise: float | None
) -> list[tuple[ScalingPoint, ScalingPoint]]:
  """Returns pairs of which the first has the lower loss and the second the better score.

  The losses differ by more than seeds do, and the intervals of the scores do not overlap.

  Args:
    points: All points.
    noise: Standard deviation of log L between seeds, None where it is not known.
  """
  apart = _STANDARD_ERRORS * np.sqrt(2) * (noise or 0.0)
  played = [point for point in points if point.score_low is not None]

  pairs = []
  for first, second in itertools.permutations(played, 2):
    assert first.score_high is not None and second.score_low is not None
    is_lower = np.log(second.loss / first.loss) > apart
    if is_lower and first.score_high < second.score_low:
      pairs.append((first, second))
  return pairs


def _best_rate(factors: Sequence[float], losses: Sequence[float]) -> float | None:
  lowest = int(np.argmin(losses))
  if lowest in (0, len(losses) - 1):
    return None

  around = slice(lowest - 1, lowest + 2)
  curvature, slope, _ = np.polyfit(np.log(factors[around]), losses[around], 2)
  return float(np.exp(-slope / (2 * curvature)))


def _curve(losses: np.ndarray, middle: float, scale: float) -> np.ndarray:
  return 100 / (1 + np.exp((losses - middle) / scale))


def _fit_curve(losses: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
  """Returns (middle, scale) by least squares."""
  spread = max(float(np.ptp(losses)), 1e-3)
  start = float(np.median(losses)), spread

  def residuals(constants: np.ndarray) -> np.ndarray:
    middle, log_scale = constants
    return _curve(losses, middle, float(np.exp(log_scale))) - scores

  # A scale far below the spread of the losses would be a step, whose gradient vanishes.
  fitted = scipy.optimize.least_squares(
    residuals,
    (start[0], np.log(start[1])),
    bounds=([-np.inf, np.log(spread / 100)], [np.inf, np.log(spread * 100)]),
  )
  return float(fitted.x[0]), float(np.exp(fitted.x[1]))
