"""Analyses the points of a sweep: laws with intervals, predictions and best sizes, by domain."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.analysis.scaling import bootstrap, budget, isoflop, law
from experiments.analysis.scaling.points import POOLED, ScalingPoint
from gato_jax.errors import GatoError

# The two meanings of N. Figures draw the first one.
SIZES = ("parameters_without_embeddings", "parameters")
# Budgets for which optima are computed, in units of the largest one trained with.
_BUDGET_FACTORS = (1, 10, 100)


@dataclasses.dataclass(frozen=True)
class Prediction:
  """A prediction of a run that was not fitted.

  Attributes:
    point: The run.
    domain: A domain, or POOLED.
    measured: Measured loss.
    predicted: Predicted loss.
    low: Lower end of the interval of the prediction (bootstrap.BootstrapFit.prediction).
    high: Upper end of that interval.
  """

  point: ScalingPoint
  domain: str
  measured: float
  predicted: float
  low: float
  high: float

  @property
  def error(self) -> float:
    """Relative error, positive if the law predicts too large a loss."""
    return self.predicted / self.measured - 1


@dataclasses.dataclass(frozen=True)
class OptimumEstimate:
  """A budget.ComputeOptimum with intervals (bootstrap.LEVEL).

  Attributes:
    domain: A domain, or POOLED.
    flops: The budget.
    n: (value, low, high) of the best number of parameters.
    d: (value, low, high) of the best number of tokens.
    loss: (value, low, high) of the loss at the optimum.
    inside: True if the best size lies among the sizes that were fitted.
  """

  domain: str
  flops: float
  n: tuple[float, float, float]
  d: tuple[float, float, float]
  loss: tuple[float, float, float]
  inside: bool


@dataclasses.dataclass(frozen=True)
class Series:
  """The analysis of one domain, or of POOLED, with one meaning of N.

  Attributes:
    domain: A domain, or POOLED.
    size: The element of SIZES that N means.
    fitted: The points that the law is fitted to.
    fit: The law, None if the points do not determine one.
    reason: The reason if there is no law.
    predictions: Of the points left out of the fit.
    optima: One per budget; empty if a constant of the law is undetermined.
    isoflops: The parabolas of approach 2.
  """

  domain: str
  size: str
  fitted: tuple[ScalingPoint, ...]
  fit: bootstrap.BootstrapFit | None
  reason: str
  predictions: tuple[Prediction, ...]
  optima: tuple[OptimumEstimate, ...]
  isoflops: tuple[isoflop.IsoFlop, ...]

  def n(self) -> np.ndarray:
    """Returns N of the fitted points, [points]."""
    return sizes(self.fitted, self.size)

  def d(self) -> np.ndarray:
    """Returns the training tokens of the fitted points, [points]."""
    return np.array([point.tokens for point in self.fitted], float)


def sizes(points: Sequence[ScalingPoint], size: str) -> np.ndarray:
  """Returns N of points, [points], for one of SIZES."""
  return np.array([getattr(point, size) for point in points], float)


def split(
  points: Sequence[ScalingPoint],
) -> tuple[list[ScalingPoint], list[ScalingPoint]]:
  """Returns (fitted, left out): left out are the largest network's runs on the most tokens."""
  largest = max((point.parameters, point.tokens) for point in points)
  left_out = [point for point in points if (point.parameters, point.tokens) == largest]
  fitted = [point for point in points if point not in left_out]
  return fitted, left_out


def domains(points: Sequence[ScalingPoint]) -> list[str]:
  """Returns POOLED and the domains that have validation targets in every run."""
  in_every_run = set.intersection(*(set(point.losses) for point in points))
  return [POOLED, *sorted(in_every_run)]


def analyse(
  points: Sequence[ScalingPoint],
  predict_largest: bool = True,
  draws: int = 200,
  size: str = SIZES[0],
) -> list[Series]:
  """Returns one Series per domain, POOLED first.

  Args:
    points: All runs of the sweep.
    predict_largest: The largest network's runs on the most tokens are predicted, not fitted.
    draws: Resamples of the bootstrap.
    size: The element of SIZES that N means.

  Raises:
    GatoError: If there are no points.
  """
  if not points:
    raise GatoError("no points of a sweep: there is nothing to fit; run python -m launch sweep")

  fitted, left_out = split(points) if predict_largest else (list(points), [])
  return [_analyse_domain(name, fitted, left_out, draws, size) for name in domains(points)]


def _losses(points: Sequence[ScalingPoint], domain: str) -> list[float]:
  losses = []
  for point in points:
    loss = point.loss_of(domain)
    assert loss is not None, f"{point.name} has no loss of {domain}"  # `domains` checks this
    losses.append(loss)
  return losses


def _analyse_domain(
  domain: str,
  fitted: Sequence[ScalingPoint],
  left_out: Sequence[ScalingPoint],
  draws: int,
  size: str,
) -> Series:
  n = sizes(fitted, size)
  d = np.array([point.tokens for point in fitted], float)
  flops = np.array([point.flops for point in fitted], float)
  losses = np.array(_losses(fitted, domain), float)

  fit, reason = None, ""
  try:
    fit = bootstrap.fit(n, d, losses, draws=draws)
  except GatoError as e:
    # Points that do not determine a law are a result too, which the page states.
    reason = str(e)

  predictions: list[Prediction] = []
  optima: list[OptimumEstimate] = []
  if fit is not None:
    for point, measured in zip(left_out, _losses(left_out, domain), strict=True):
      predicted, low, high = fit.prediction(getattr(point, size), point.tokens)
      predictions.append(Prediction(point, domain, measured, predicted, low, high))

    if not fit.best.undetermined(n, d):
      cost = budget.cost(n, d, flops)
      largest = max(point.flops for point in (*fitted, *left_out))
      optima = [
        _estimate_optimum(domain, fit, cost, factor * largest, n) for factor in _BUDGET_FACTORS
      ]

  budgets = isoflop.shared_budgets(n, flops)
  return Series(
    domain=domain,
    size=size,
    fitted=tuple(fitted),
    fit=fit,
    reason=reason,
    predictions=tuple(predictions),
    optima=tuple(optima),
    isoflops=tuple(isoflop.profiles(n, flops, losses, budgets)),
  )


def _estimate_optimum(
  domain: str, fit: bootstrap.BootstrapFit, cost: budget.Cost, flops: float, sizes: np.ndarray
) -> OptimumEstimate:
  def optimum_of(draw: law.Law) -> np.ndarray:
    best = budget.optimum(draw, cost, flops, sizes)
    return np.array([best.n, best.d, best.loss])

  best = budget.optimum(fit.best, cost, flops, sizes)
  lows, highs = (values.tolist() for values in fit.interval(optimum_of))
  return OptimumEstimate(
    domain=domain,
    flops=flops,
    n=(best.n, lows[0], highs[0]),
    d=(best.d, lows[1], highs[1]),
    loss=(best.loss, lows[2], highs[2]),
    inside=best.inside,
  )
