"""All that is said about the points of a sweep: laws with intervals, predictions, best sizes, by domain and pooled."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.scaling import bootstrap, budget, isoflop, law
from gato_jax.scaling.points import POOLED, Point

SIZES = ("parameters_without_embeddings", "parameters")  # what N may mean; the first is drawn
_BEYOND = (1, 10, 100)  # budgets that are optimised for, in units of the largest one trained with


@dataclasses.dataclass(frozen=True)
class Prediction:
  """A run that was not fitted. low, high: bootstrap.Fit.prediction."""

  point: Point
  domain: str
  measured: float
  predicted: float
  low: float
  high: float

  @property
  def error(self) -> float:
    """Relative, positive where the law says too much."""
    return self.predicted / self.measured - 1


@dataclasses.dataclass(frozen=True)
class Optimum:
  """budget.Optimum with intervals (bootstrap.LEVEL); n, d, loss: (value, low, high)."""

  domain: str
  flops: float
  n: tuple[float, float, float]
  d: tuple[float, float, float]
  loss: tuple[float, float, float]
  inside: bool


@dataclasses.dataclass(frozen=True)
class Series:
  """One domain, or POOLED, with one meaning of N.

  Attributes:
    fit: None where there is none, and `reason` says why.
    predictions: of the points left out. isoflops: parabolas. optima: one a budget; none of an undetermined law.
  """

  domain: str
  size: str
  fitted: tuple[Point, ...]
  fit: bootstrap.Fit | None
  reason: str
  predictions: tuple[Prediction, ...]
  optima: tuple[Optimum, ...]
  isoflops: tuple[isoflop.IsoFlop, ...]

  def n(self) -> np.ndarray:
    return sizes(self.fitted, self.size)


def sizes(points: Sequence[Point], size: str) -> np.ndarray:
  return np.array([getattr(point, size) for point in points], float)


def split(points: Sequence[Point]) -> tuple[list[Point], list[Point]]:
  """(all others, the largest network's runs on the most tokens)."""
  most = max(points, key=lambda p: (p.parameters, p.tokens))
  out = [p for p in points if (p.parameters, p.tokens) == (most.parameters, most.tokens)]
  return [p for p in points if p not in out], out


def domains(points: Sequence[Point]) -> list[str]:
  """POOLED, and those with held-out targets in every run."""
  return [POOLED, *sorted(set.intersection(*(set(p.losses) for p in points)))]


def analyse(points: Sequence[Point], hold_out: bool = True, draws: int = 200, size: str = SIZES[0]) -> list[Series]:
  """One Series a domain, POOLED first.

  Args:
    hold_out: the largest network's runs on the most tokens are predicted, not fitted. draws: of the bootstrap.
    size: which of SIZES is N.

  Raises:
    GatoError: there are no points.
  """
  if not points:
    raise GatoError("no points of a sweep: there is nothing to fit; run python -m launch sweep")
  fitted, out = split(points) if hold_out else (list(points), [])
  return [_series(domain, fitted, out, points, draws, size) for domain in domains(points)]


def _series(
  domain: str, fitted: list[Point], out: list[Point], points: Sequence[Point], draws: int, size: str
) -> Series:
  n, d = sizes(fitted, size), np.array([p.tokens for p in fitted], float)
  losses = np.array([p.loss_of(domain) for p in fitted], float)
  flops = np.array([p.flops for p in fitted], float)
  found, reason = None, ""
  try:
    found = bootstrap.fit(n, d, losses, draws)
  except GatoError as e:  # said on the page: what the points do not determine is a result
    reason = str(e)
  predictions, optima = (), ()
  if found is not None:
    predictions = tuple(
      Prediction(p, domain, p.loss_of(domain), *found.prediction(getattr(p, size), p.tokens)) for p in out
    )
    each = budget.cost(n, d, flops)
    largest = max(p.flops for p in points)
    if not found.best.undetermined(n, d):
      optima = tuple(_optimum(domain, found, each, times * largest, n) for times in _BEYOND)
  profiles = isoflop.profiles(n, flops, losses, isoflop.shared_budgets(n, flops))
  return Series(domain, size, tuple(fitted), found, reason, predictions, optima, tuple(profiles))


def _optimum(domain: str, fit: bootstrap.Fit, cost: budget.Cost, flops: float, n: np.ndarray) -> Optimum:
  def of(one: law.Law) -> np.ndarray:
    best = budget.optimum(one, cost, flops, n)
    return np.array([best.n, best.d, best.loss])

  best = budget.optimum(fit.best, cost, flops, n)
  low, high = fit.interval(of)
  values = zip((best.n, best.d, best.loss), low, high, strict=True)
  return Optimum(domain, flops, *(tuple(map(float, value)) for value in values), bool(best.inside))
