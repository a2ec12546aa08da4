"""Finds the best size for a budget without a law: approach 2 of Hoffmann et al. 2022.

At each budget, a parabola in log N is fitted to the losses of all sizes. If a size has a run of
just that budget, its loss is taken. Otherwise the loss is interpolated linearly in log FLOPs
between the size's two nearest runs, never beyond its cheapest or its most expensive one.

Names in this file: n, flops, losses [points]: parameters, training FLOPs, nats per target.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from experiments.analysis.scaling import bootstrap

_SIZES = 4  # a parabola goes exactly through any three points
_DRAWS = 500  # of the noise


@dataclasses.dataclass(frozen=True)
class IsoFlop:
  """The parabola of log N -> loss at one budget.

  Attributes:
    flops: The budget.
    n: Parameters of the sizes that reach the budget.
    losses: Losses of these sizes at the budget.
    coefficients: Of the parabola in log N, highest power first.
    minimum: N at the lowest point. None if the parabola opens downwards or the lowest point lies
      outside of the sizes.
    interval: Ends of the interval (bootstrap.LEVEL) of the minimum under the noise between seeds;
      None where that is not known.
    inside: Share of the draws of that noise that have a minimum among the sizes.
  """

  flops: float
  n: np.ndarray
  losses: np.ndarray
  coefficients: np.ndarray
  minimum: float | None
  interval: tuple[float, float] | None = None
  inside: float = 1.0

  @property
  def loss(self) -> float | None:
    """Loss at the minimum, None without one."""
    if self.minimum is None:
      return None
    return float(np.polyval(self.coefficients, np.log(self.minimum)))


def profiles(
  n: np.ndarray, flops: np.ndarray, losses: np.ndarray, budgets: np.ndarray
) -> list[IsoFlop]:
  """Returns a parabola for every budget that at least four sizes reach."""
  n, flops, losses = (np.asarray(values, float) for values in (n, flops, losses))
  parabolas = []
  for budget in np.asarray(budgets, float):
    sizes_at_budget, losses_at_budget = [], []
    for size in np.unique(n):
      selected = n == size
      loss = _interpolate(np.log(flops[selected]), losses[selected], np.log(budget))
      if loss is not None:
        sizes_at_budget.append(size)
        losses_at_budget.append(loss)

    if len(sizes_at_budget) >= _SIZES:
      sizes_array, losses_array = np.array(sizes_at_budget), np.array(losses_at_budget)
      parabolas.append(fit_parabola(budget, sizes_array, losses_array))

  return parabolas


def exact_profiles(
  n: np.ndarray,
  budgets: np.ndarray,
  losses: np.ndarray,
  noise: float | None = None,
  seed: int = 0,
) -> list[IsoFlop]:
  """Returns a parabola for every budget that at least four sizes were trained with.

  Args:
    n: [points] Parameters.
    budgets: [points] The budget of each point; 0 for none.
    losses: [points] Nats per target; several of one size count with their mean.
    noise: Standard deviation of log L between seeds.
    seed: Of the draws of that noise.
  """
  random = np.random.default_rng(seed)
  parabolas = []

  for budget in np.unique(budgets[budgets > 0]):
    selected = budgets == budget
    distinct, index, counts = np.unique(n[selected], return_inverse=True, return_counts=True)
    if len(distinct) < _SIZES:
      continue
    means = np.bincount(index, losses[selected]) / counts
    parabola = fit_parabola(budget, distinct, means)

    if noise is not None:
      # Means over several seeds scatter less.
      scatter = random.normal(size=(_DRAWS, len(distinct))) * noise / np.sqrt(counts)
      minima = [fit_parabola(budget, distinct, means * np.exp(draw)).minimum for draw in scatter]
      inside = [minimum for minimum in minima if minimum is not None]
      interval = None
      if parabola.minimum is not None and inside:
        low, high = bootstrap.percentiles(np.array(inside))
        interval = float(low), float(high)
      parabola = dataclasses.replace(parabola, interval=interval, inside=len(inside) / len(minima))
    parabolas.append(parabola)

  return parabolas


def shared_budgets(n: np.ndarray, flops: np.ndarray, count: int = 5) -> np.ndarray:
  """Returns `count` budgets, evenly spaced in log, that at least four sizes reach.

  An empty array if there is no such range of budgets.
  """
  n, flops = np.asarray(n, float), np.asarray(flops, float)
  ranges = [(flops[n == size].min(), flops[n == size].max()) for size in np.unique(n)]
  if len(ranges) < _SIZES:
    return np.array([])

  # From the fourth cheapest start on, at least four sizes have begun; up to the fourth largest
  # end, at least four go on.
  low = sorted(low for low, _ in ranges)[_SIZES - 1]
  high = sorted((high for _, high in ranges), reverse=True)[_SIZES - 1]

  return np.geomspace(low, high, count) if low < high else np.array([])


def exponent(parabolas: Sequence[IsoFlop]) -> float | None:
  """Returns a of N_opt ~ C^a through the minima, None if there are fewer than two."""
  minima = [
    (np.log(parabola.flops), np.log(parabola.minimum))
    for parabola in parabolas
    if parabola.minimum is not None
  ]
  if len(minima) < 2:
    return None

  log_flops, log_n = np.array(minima).T
  return float(np.polyfit(log_flops, log_n, 1)[0])


def _interpolate(log_flops: np.ndarray, losses: np.ndarray, at: float) -> float | None:
  """Returns the loss of one size at a log budget, None outside of the size's runs."""
  # Runs of the same FLOPs, which differ in their seeds, count with their mean.
  budgets, index = np.unique(np.round(log_flops, 6), return_inverse=True)
  means = np.bincount(index, losses) / np.bincount(index)

  # The margin makes up for the rounding above.
  if not budgets[0] - 1e-6 <= at <= budgets[-1] + 1e-6:
    return None

  return float(np.interp(at, budgets, means))


def fit_parabola(budget: float, n: np.ndarray, losses: np.ndarray) -> IsoFlop:
  """Returns the parabola through losses [points] of sizes n [points] at one budget."""
  x = np.log(n)
  coefficients = np.polyfit(x, losses, 2)
  curvature, slope, _ = coefficients

  # A parabola that opens downwards has no minimum.
  lowest = -slope / (2 * curvature) if curvature > 0 else np.inf
  inside = x.min() <= lowest <= x.max()

  return IsoFlop(
    flops=float(budget),
    n=n,
    losses=losses,
    coefficients=coefficients,
    minimum=float(np.exp(lowest)) if inside else None,
  )
