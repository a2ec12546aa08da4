"""L(N, D) = E + A / N^alpha + B / D^beta, fitted as Hoffmann et al. 2022 do in their approach 3.

The Huber loss (delta 1e-3) of the residuals of log L is minimised by L-BFGS from many starts. N and D are divided by
their geometric means inside, so that A and B of the optimizer are losses at the middle of the data; and the objective
by delta^2, because L-BFGS-B stops at a tolerance relative to max(objective, 1): left small, it stops far too early.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import scipy.optimize

from gato_jax.errors import GatoError

NAMES = ("E", "A", "B", "alpha", "beta")
_DELTA = 1e-3  # Huber's, of log-losses
_LARGEST_EXPONENT = 3.0
_DESCENTS = 8  # from the best of all starts
_START_EXPONENTS = (0.05, 0.2, 0.35, 0.6, 1.0, 1.6)
_VANISHED = 1e-3  # share of the loss at the middle of the data below which a term is none
_SMALLEST_TERM = 1e-6  # a term is at least this share of the smallest loss: its logarithm is what is optimised


@dataclasses.dataclass(frozen=True)
class Law:
  """The five constants. Losses in nats, N in parameters, D in tokens."""

  E: float
  A: float
  B: float
  alpha: float
  beta: float

  def __call__(self, n: np.ndarray, d: np.ndarray) -> np.ndarray:
    """Predicted losses of networks of n parameters trained on d tokens."""
    return self.E + self.A * np.asarray(n, float) ** -self.alpha + self.B * np.asarray(d, float) ** -self.beta

  @property
  def size_exponent(self) -> float:
    """a of N_opt ~ C^a, where FLOPs are proportional to N D."""
    return self.beta / (self.alpha + self.beta) if self.alpha + self.beta else float("nan")

  def undetermined(self, n: np.ndarray, d: np.ndarray) -> tuple[str, ...]:
    """Constants that the points n, d [points] say nothing about: exponents at an end of their range, vanished terms."""
    middle = [float(np.exp(np.log(values).mean())) for values in (n, d)]
    terms = {"E": self.E, "A": self.A * middle[0] ** -self.alpha, "B": self.B * middle[1] ** -self.beta}
    found = [name for name, value in terms.items() if value < _VANISHED * sum(terms.values())]
    ends = {"alpha": self.alpha, "beta": self.beta}
    return tuple(found + [name for name, value in ends.items() if not 1e-6 < value < _LARGEST_EXPONENT - 1e-6])


def fit(n: np.ndarray, d: np.ndarray, losses: np.ndarray, starts: Sequence[Law] = ()) -> Law:
  """The law with the smallest Huber loss.

  Args:
    n, d, losses: [points] parameters, tokens, nats.
    starts: where to begin instead of everywhere; for bootstraps.

  Raises:
    GatoError: fewer points than constants, fewer than two sizes or budgets, or values that are not positive.
  """
  n, d, losses = (np.asarray(values, np.float64) for values in (n, d, losses))
  _check(n, d, losses)
  middle = np.log(n).mean(), np.log(d).mean()
  x, y, target = np.log(n) - middle[0], np.log(d) - middle[1], np.log(losses)
  low = target.min()
  bounds = [(low + np.log(_SMALLEST_TERM), low)] + 2 * [(low + np.log(_SMALLEST_TERM), target.max() + 3.0)]
  bounds += 2 * [(0.0, _LARGEST_EXPONENT)]
  begin = [_inside(law, middle, bounds) for law in starts]
  if not begin:
    every = _everywhere(x, y, losses, bounds)
    begin = sorted(every, key=lambda start: _objective(start, x, y, target)[0])[:_DESCENTS]
  best = None
  for start in begin:
    options = {"maxiter": 500, "ftol": 1e-11, "gtol": 1e-6}
    found = scipy.optimize.minimize(
      _objective, start, args=(x, y, target), jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    if best is None or found.fun < best.fun:
      best = found
  e, a, b, alpha, beta = best.x
  return Law(
    float(np.exp(e)),
    float(np.exp(a + alpha * middle[0])),
    float(np.exp(b + beta * middle[1])),
    float(alpha),
    float(beta),
  )


def huber(law: Law, n: np.ndarray, d: np.ndarray, losses: np.ndarray) -> float:
  """What `fit` minimises, summed over the points, in units of delta^2."""
  r = np.abs(np.log(law(n, d)) - np.log(losses)) / _DELTA
  return float(np.where(r <= 1, 0.5 * r**2, r - 0.5).sum())


def residuals(law: Law, n: np.ndarray, d: np.ndarray, losses: np.ndarray) -> np.ndarray:
  """log(loss / predicted loss) [points]."""
  return np.log(np.asarray(losses, float)) - np.log(law(n, d))


def _objective(constants: np.ndarray, x: np.ndarray, y: np.ndarray, target: np.ndarray) -> tuple[float, np.ndarray]:
  """Huber loss and its gradient by (log E, log A, log B, alpha, beta) of centred x = log N, y = log D."""
  e, a, b, alpha, beta = constants
  terms = np.stack([np.full_like(x, e), a - alpha * x, b - beta * y])
  top = terms.max(axis=0)
  shares = np.exp(terms - top)
  total = shares.sum(axis=0)
  r = (top + np.log(total) - target) / _DELTA
  shares /= total
  slope = np.clip(r, -1, 1) / _DELTA
  value = np.where(np.abs(r) <= 1, 0.5 * r**2, np.abs(r) - 0.5).sum()
  by_e, by_a, by_b = (slope * shares).sum(axis=1)
  return value, np.array([by_e, by_a, by_b, -(slope * shares[1] * x).sum(), -(slope * shares[2] * y).sum()])


def _everywhere(x: np.ndarray, y: np.ndarray, losses: np.ndarray, bounds: Sequence) -> list[np.ndarray]:
  """A start for every pair of exponents: the law is linear in E, A and B then, and those are solved for."""
  found = []
  for alpha, beta in itertools.product(_START_EXPONENTS, repeat=2):
    columns = np.stack([np.ones_like(x), np.exp(-alpha * x), np.exp(-beta * y)], axis=1)
    solved, _ = scipy.optimize.nnls(columns / losses[:, None], np.ones_like(losses))
    found.append(_clipped([*np.log(np.maximum(solved, 1e-300)), alpha, beta], bounds))
  return found


def _inside(law: Law, middle: tuple[float, float], bounds: Sequence) -> np.ndarray:
  e, a, b = (np.log(max(value, 1e-300)) for value in (law.E, law.A, law.B))
  return _clipped([e, a - law.alpha * middle[0], b - law.beta * middle[1], law.alpha, law.beta], bounds)


def _clipped(values: Sequence[float], bounds: Sequence) -> np.ndarray:
  return np.clip(values, *np.array(bounds).T)


def _check(n: np.ndarray, d: np.ndarray, losses: np.ndarray) -> None:
  values = np.concatenate([n, d, losses])
  if not (np.isfinite(values).all() and (values > 0).all()):
    raise GatoError("scaling law: every point needs positive parameters, tokens and loss; remove the one that has none")
  if len(losses) < len(NAMES) or len(np.unique(n)) < 2 or len(np.unique(d)) < 2:
    raise GatoError(
      f"scaling law: {len(losses)} points of {len(np.unique(n))} sizes and {len(np.unique(d))} budgets cannot determine"
      f" {len(NAMES)} constants; train more (python -m launch sweep)"
    )
