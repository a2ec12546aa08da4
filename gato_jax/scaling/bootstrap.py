"""How well points determine a law: the law refitted to resampled points, and intervals of whatever follows from it.

Points are drawn with replacement (Hoffmann et al. 2022 and Besiroglu et al. 2024 do the same). A draw with fewer than
three sizes or three budgets says nothing about an exponent and is drawn again.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from gato_jax.errors import GatoError
from gato_jax.scaling import law

LEVEL = 0.9
_TRIES = 50


@dataclasses.dataclass(frozen=True)
class Fit:
  """A law and the laws of its bootstrap.

  Attributes:
    best: fitted to all points. draws: to resampled ones.
    errors: [points] log(loss / predicted), of all points under `best`.
  """

  best: law.Law
  draws: tuple[law.Law, ...]
  errors: np.ndarray

  def interval(self, of: Callable[[law.Law], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Percentile interval (LEVEL) of a number or an array that a law gives."""
    return percentiles(np.array([of(one) for one in self.draws], float))

  def prediction(self, n: float, d: float, seed: int = 0) -> tuple[float, float, float]:
    """(loss, low, high) of a run that was not fitted: the interval has the constants' uncertainty and a run's scatter.

    The scatter is that of the residuals, widened for the five constants that were fitted to them.
    """
    random = np.random.default_rng(seed)
    points = len(self.errors)
    scale = np.sqrt(points / max(1, points - len(law.NAMES)))
    scatter = scale * random.choice(self.errors, (20, len(self.draws)))
    predicted = np.array([float(one(n, d)) for one in self.draws])
    low, high = percentiles((predicted * np.exp(scatter)).ravel())
    return float(self.best(n, d)), float(low), float(high)


def fit(n: np.ndarray, d: np.ndarray, losses: np.ndarray, draws: int = 200, seed: int = 0) -> Fit:
  """The law of points [points] with `draws` bootstrap laws; errors as law.fit."""
  n, d, losses = (np.asarray(values, np.float64) for values in (n, d, losses))
  best = law.fit(n, d, losses)
  random = np.random.default_rng(seed)
  starts = (best, *(dataclasses.replace(best, alpha=0.6 * best.alpha + 0.1, beta=0.6 * best.beta + 0.1),))
  found = []
  for _ in range(draws):
    chosen = _draw(random, n, d)
    found.append(law.fit(n[chosen], d[chosen], losses[chosen], starts))
  return Fit(best, tuple(found), law.residuals(best, n, d, losses))


def percentiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The interval (LEVEL) over the first axis."""
  low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)
  return low, high


def _draw(random: np.random.Generator, n: np.ndarray, d: np.ndarray) -> np.ndarray:
  enough = [min(3, len(np.unique(values))) for values in (n, d)]
  for _ in range(_TRIES):
    chosen = random.integers(len(n), size=len(n))
    if all(len(np.unique(values[chosen])) >= least for values, least in zip((n, d), enough, strict=True)):
      return chosen
  raise GatoError(f"scaling law: {len(n)} points are too few to resample; train more (python -m launch sweep)")
