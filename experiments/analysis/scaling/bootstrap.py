"""Estimates how well points determine a law, by refitting it to resampled points.

Points are drawn with replacement, as in Hoffmann et al. 2022 and Besiroglu et al. 2024. A draw
with fewer than three sizes or three numbers of tokens cannot determine an exponent and is repeated.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.analysis.scaling import law
from gato_jax.errors import GatoError

LEVEL = 0.9  # of the intervals
_ATTEMPTS = 50  # draws before the points are too few


@dataclasses.dataclass(frozen=True)
class BootstrapFit:
  """A law and the laws of its bootstrap.

  Attributes:
    best: The law fitted to all points.
    draws: The laws fitted to resampled points.
    errors: [points] log(loss / predicted loss) of all points under `best`.
    noise: Standard deviation of log L between seeds; 0 where it is not known.
  """

  best: law.Law
  draws: tuple[law.Law, ...]
  errors: np.ndarray
  noise: float = 0.0

  def interval(self, of: Callable[[law.Law], Any]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the percentile interval (LEVEL) of a number or an array computed from a law."""
    return percentiles(np.array([of(draw) for draw in self.draws], float))

  def prediction(self, n: float, d: float, seed: int = 0) -> tuple[float, float, float]:
    """Returns (loss, low, high) of a run that was not fitted.

    The interval contains the uncertainty of the constants and the scatter of single runs. The
    latter is that of the residuals, widened for the five constants that were fitted to them.
    """
    random = np.random.default_rng(seed)
    points = len(self.errors)
    scale = np.sqrt(points / max(1, points - len(law.NAMES)))
    # Few points may lie nearer to their own law than two seeds lie to each other.
    scale = max(scale, self.noise / max(float(np.std(self.errors)), 1e-12))

    # 20 residuals for each law of the bootstrap.
    scatter = scale * random.choice(self.errors, (20, len(self.draws)))
    predicted = np.array([float(draw(n, d)) for draw in self.draws])
    low, high = percentiles((predicted * np.exp(scatter)).ravel())

    return float(self.best(n, d)), float(low), float(high)


def fit(
  n: np.ndarray,
  d: np.ndarray,
  losses: np.ndarray,
  draws: int = 200,
  seed: int = 0,
  noise: float | None = None,
) -> BootstrapFit:
  """Fits a law to points [points], and `draws` laws to resampled points.

  Args:
    n: Parameters.
    d: Tokens.
    losses: Nats per target.
    draws: Number of resamples.
    seed: Of the resamples.
    noise: Standard deviation of log L between seeds, where it is known. The Huber loss takes
      residuals up to it for noise, and predictions scatter by it at least.

  Raises:
    GatoError: As law.fit, or if the points are too few to resample.
  """
  n, d, losses = (np.asarray(values, np.float64) for values in (n, d, losses))
  delta = max(law.DELTA, noise or 0.0)
  best = law.fit(n, d, losses, delta=delta)

  # A second start, away from the best law, guards against its local minimum.
  other = dataclasses.replace(best, alpha=0.6 * best.alpha + 0.1, beta=0.6 * best.beta + 0.1)
  starts = (best, other)

  random = np.random.default_rng(seed)
  resampled = []
  for _ in range(draws):
    chosen = _draw(random, n, d)
    resampled.append(law.fit(n[chosen], d[chosen], losses[chosen], starts=starts, delta=delta))

  errors = law.residuals(best, n, d, losses=losses)
  return BootstrapFit(best, tuple(resampled), errors=errors, noise=noise or 0.0)


def percentiles(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Returns the interval (LEVEL) over the first axis."""
  low, high = np.percentile(values, [50 * (1 - LEVEL), 50 * (1 + LEVEL)], axis=0)
  return low, high


def _draw(random: np.random.Generator, n: np.ndarray, d: np.ndarray) -> np.ndarray:
  """Returns indices [points] of resampled points with enough sizes and numbers of tokens."""
  # Points that have only two sizes cannot give a draw with three.
  least_sizes = min(3, len(np.unique(n)))
  least_tokens = min(3, len(np.unique(d)))

  for _ in range(_ATTEMPTS):
    chosen = random.integers(len(n), size=len(n))
    enough_sizes = len(np.unique(n[chosen])) >= least_sizes
    enough_tokens = len(np.unique(d[chosen])) >= least_tokens
    if enough_sizes and enough_tokens:
      return chosen

  raise GatoError(
    f"scaling law: {len(n)} points are too few to resample; train more (python -m launch sweep)"
  )
