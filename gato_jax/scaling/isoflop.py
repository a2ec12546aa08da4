"""The best size for a budget without assuming a law (approach 2 of Hoffmann et al. 2022): a parabola a budget.

At each budget every size needs a loss. Where a run of that size has just that budget it is taken; else the loss is
interpolated linearly in log FLOPs between the size's two nearest runs, never beyond its cheapest or dearest one.
"""

import dataclasses

import numpy as np

_SIZES = 4  # a parabola through three points fits anything


@dataclasses.dataclass(frozen=True)
class IsoFlop:
  """The parabola of log N -> loss at one budget.

  Attributes:
    flops: the budget. n, losses: of the sizes that reach it.
    coefficients: of the parabola in log N, highest power first.
    minimum: N at its lowest point; None where it opens downwards or the point lies outside of the sizes.
  """

  flops: float
  n: np.ndarray
  losses: np.ndarray
  coefficients: np.ndarray
  minimum: float | None

  @property
  def loss(self) -> float | None:
    """At the minimum."""
    return None if self.minimum is None else float(np.polyval(self.coefficients, np.log(self.minimum)))


def profiles(n: np.ndarray, flops: np.ndarray, losses: np.ndarray, budgets: np.ndarray) -> list[IsoFlop]:
  """One a budget that at least four sizes reach; n, flops, losses: [points]."""
  n, flops, losses = (np.asarray(values, float) for values in (n, flops, losses))
  found = []
  for budget in np.asarray(budgets, float):
    sizes, at = [], []
    for size in np.unique(n):
      mine = n == size
      loss = _interpolated(np.log(flops[mine]), losses[mine], np.log(budget))
      if loss is not None:
        sizes.append(size)
        at.append(loss)
    if len(sizes) >= _SIZES:
      found.append(_parabola(budget, np.array(sizes), np.array(at)))
  return found


def shared_budgets(n: np.ndarray, flops: np.ndarray, count: int = 5) -> np.ndarray:
  """`count` budgets, evenly spaced in log, of the range in which at least four sizes have runs; [] where none is."""
  n, flops = np.asarray(n, float), np.asarray(flops, float)
  ranges = [(flops[n == size].min(), flops[n == size].max()) for size in np.unique(n)]
  if len(ranges) < _SIZES:
    return np.array([])
  low = sorted(low for low, _ in ranges)[_SIZES - 1]
  high = sorted((high for _, high in ranges), reverse=True)[_SIZES - 1]
  return np.geomspace(low, high, count) if low < high else np.array([])


def exponent(found: list[IsoFlop]) -> float | None:
  """a of N_opt ~ C^a through the minima; None with fewer than two."""
  known = [(np.log(one.flops), np.log(one.minimum)) for one in found if one.minimum is not None]
  return float(np.polyfit(*np.array(known).T, 1)[0]) if len(known) > 1 else None


def _interpolated(x: np.ndarray, losses: np.ndarray, at: float) -> float | None:
  """Runs of the same FLOPs (seeds) count with their mean."""
  places, index = np.unique(np.round(x, 6), return_inverse=True)
  means = np.bincount(index, losses) / np.bincount(index)
  if not places[0] - 1e-6 <= at <= places[-1] + 1e-6:
    return None
  return float(np.interp(at, places, means))


def _parabola(budget: float, n: np.ndarray, losses: np.ndarray) -> IsoFlop:
  x = np.log(n)
  coefficients = np.polyfit(x, losses, 2)
  lowest = -coefficients[1] / (2 * coefficients[0]) if coefficients[0] > 0 else np.inf
  inside = x.min() <= lowest <= x.max()
  return IsoFlop(float(budget), n, losses, coefficients, float(np.exp(lowest)) if inside else None)
