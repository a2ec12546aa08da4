"""Analyses the points of a sweep: laws with intervals, predictions and best sizes, by domain.

Fitted are runs of the family with the sweep's own schedule and learning rate, outside the budgets
that are predicted. Tokens that repeat count less (`law.effective_tokens`).
"""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.analysis.scaling import bootstrap, budget, family, isoflop, law
from experiments.analysis.scaling import points as points_of
from experiments.analysis.scaling.noise import between_seeds
from experiments.analysis.scaling.points import POOLED, ScalingPoint
from experiments.analysis.scaling.runs import SweepConfig
from gato_jax.errors import GatoError
from gato_jax.model import config as model_config

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
    noise: Standard deviation of log L between seeds, None where no run was repeated.
  """

  domain: str
  size: str
  fitted: tuple[ScalingPoint, ...]
  fit: bootstrap.BootstrapFit | None
  reason: str
  predictions: tuple[Prediction, ...]
  optima: tuple[OptimumEstimate, ...]
  isoflops: tuple[isoflop.IsoFlop, ...]
  noise: float | None = None

  def n(self) -> np.ndarray:
    """Returns N of the fitted points, [points]."""
    return sizes(self.fitted, self.size)

  def d(self) -> np.ndarray:
    """Returns the effective training tokens of the fitted points, [points]."""
    return tokens(self.fitted)


def sizes(points: Sequence[ScalingPoint], size: str) -> np.ndarray:
  """Returns N of points, [points], for one of SIZES."""
  return np.array([getattr(point, size) for point in points], float)


def tokens(points: Sequence[ScalingPoint]) -> np.ndarray:
  """Returns the effective training tokens of points, [points]."""
  return law.effective_tokens(
    np.array([point.tokens for point in points], float),
    np.array([point.unique_tokens for point in points], float),
  )


def family_points(points: Sequence[ScalingPoint]) -> list[ScalingPoint]:
  """Returns the points that one law may describe.

  They are of the family's networks, with the schedule of most of them and the sweep's rate.
  """
  of_family = [point for point in points if point.family == family.NAME and point.rate == 1]
  schedules = collections.Counter(point.schedule for point in of_family)
  return [point for point in of_family if point.schedule == schedules.most_common(1)[0][0]]


def seed_noise(points: Sequence[ScalingPoint], domain: str = POOLED) -> float | None:
  """Returns the standard deviation of log L between seeds, None without repeated runs."""
  groups: dict[tuple[float, ...], list[float]] = {}
  for point in family_points(points):
    loss = point.loss_of(domain)
    if loss is not None:
      groups.setdefault((point.parameters, point.tokens), []).append(loss)
  return between_seeds(groups.values())


def predicted_budgets(config: SweepConfig) -> tuple[float, ...]:
  """Returns the budgets whose losses are predicted."""
  count = config.predicted_budgets
  return tuple(config.budgets[-count:]) if count else ()


def split(
  points: Sequence[ScalingPoint], predicted: Sequence[float]
) -> tuple[list[ScalingPoint], list[ScalingPoint]]:
  """Returns (fitted, left out) of the points of one family.

  Args:
    points: All points.
    predicted: Budgets that are left out.
  """
  left_out = [point for point in points if point.budget in predicted]
  fitted = [point for point in points if point.budget not in predicted]
  return fitted, left_out


def domains(points: Sequence[ScalingPoint]) -> list[str]:
  """Returns POOLED and the domains that have validation targets in every run."""
  in_every_run = set.intersection(*(set(point.losses) for point in points))
  return [POOLED, *sorted(in_every_run)]


def analyse(
  points: Sequence[ScalingPoint],
  predicted: Sequence[float] = (),
  draws: int = 200,
  size: str = SIZES[0],
) -> list[Series]:
  """Returns one Series per domain, POOLED first.

  Args:
    points: All runs of the sweep.
    predicted: Budgets whose points are predicted, not fitted.
    draws: Resamples of the bootstrap.
    size: The element of SIZES that N means.

  Raises:
    GatoError: If there are no points.
  """
  if not points:
    raise GatoError("no points of a sweep: there is nothing to fit; run python -m launch sweep")

  own = family_points(points)
  if not own:
    raise GatoError("no points of the family: its networks have scaling.widths or scaling.budgets")
  fitted, left_out = split(own, predicted)
  return [_analyse_domain(name, fitted, left_out, draws, size) for name in domains(own)]


@dataclasses.dataclass(frozen=True)
class PublishedSize:
  """The budget at which a network of the size of one of the paper's is best, by the law.

  It is a network of the family: the paper's own have another shape and parametrization.

  Attributes:
    name: Of the paper's network.
    n: Its parameters, counted as the series counts them.
    flops: (value, low, high) of the budget whose best size that is.
    d: The same of the tokens of that budget.
    loss: The same of the loss there.
  """

  name: str
  n: int
  flops: tuple[float, float, float]
  d: tuple[float, float, float]
  loss: tuple[float, float, float]


def published_sizes(series: Series) -> list[PublishedSize]:
  """Returns the paper's three sizes, largest last; none where the law is not determined."""
  if series.fit is None or series.fit.best.undetermined(series.n(), series.d()):
    return []

  flops = np.array([point.flops for point in series.fitted])
  cost = budget.cost(series.n(), series.d(), flops=flops)
  estimates = []
  for name in ("gato_79m", "gato_364m", "gato_1b"):
    config = model_config.variant(name)
    total, tables = points_of.count(config)
    n = total - tables if series.size == SIZES[0] else total

    def at_best(draw: law.Law, n: int = n) -> np.ndarray:
      """Returns budget, tokens and loss."""
      d = budget.best_tokens(draw, cost, n)
      return np.array([d * cost(n), d, draw(n, d)])

    values = at_best(series.fit.best)
    lows, highs = series.fit.interval(at_best)
    flops_of, d_of, loss_of = (
      (float(value), float(low), float(high))
      for value, low, high in zip(values, lows, highs, strict=True)
    )
    estimates.append(PublishedSize(name, n, flops_of, d_of, loss_of))
  return estimates


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
  d = tokens(fitted)
  noise = seed_noise([*fitted, *left_out], domain)
  flops = np.array([point.flops for point in fitted], float)
  losses = np.array(_losses(fitted, domain), float)

  fit, reason = None, ""
  try:
    fit = bootstrap.fit(n, d, losses, draws=draws, noise=noise)
  except GatoError as e:
    # Points that do not determine a law are a result too, which the page states.
    reason = str(e)

  predictions: list[Prediction] = []
  optima: list[OptimumEstimate] = []
  if fit is not None:
    for point, measured in zip(left_out, _losses(left_out, domain), strict=True):
      predicted, low, high = fit.prediction(getattr(point, size), float(tokens([point])[0]))
      predictions.append(Prediction(point, domain, measured, predicted, low, high))

    if not fit.best.undetermined(n, d):
      cost = budget.cost(n, d, flops)
      largest = max(point.flops for point in (*fitted, *left_out))
      optima = [
        _estimate_optimum(domain, fit, cost, factor * largest, n) for factor in _BUDGET_FACTORS
      ]

  return Series(
    domain=domain,
    size=size,
    fitted=tuple(fitted),
    fit=fit,
    reason=reason,
    predictions=tuple(predictions),
    optima=tuple(optima),
    isoflops=tuple(_isoflops([*fitted, *left_out], domain, size, noise)),
    noise=noise,
  )


def _isoflops(
  points: Sequence[ScalingPoint], domain: str, size: str, noise: float | None
) -> list[isoflop.IsoFlop]:
  """Returns the parabolas of the sweep's budgets, or of those that a grid's runs share."""
  n = sizes(points, size)
  losses = np.array(_losses(points, domain), float)
  budgets = np.array([point.budget for point in points])
  if budgets.any():
    return isoflop.exact_profiles(n, budgets, losses, noise=noise)

  flops = np.array([point.flops for point in points], float)
  return isoflop.profiles(n, flops, losses, isoflop.shared_budgets(n, flops))


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
