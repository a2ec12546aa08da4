"""Fits L(N, D) = E + A / N^alpha + B / D^beta, by approach 3 of Hoffmann et al. 2022.

L-BFGS minimises the Huber loss (delta 1e-3) of the residuals of log L from many starting points.
Inside the fit, N and D are divided by their geometric means, so that A and B of the optimizer are
losses at the middle of the data. The objective is divided by delta^2, because L-BFGS-B stops at a
tolerance relative to max(objective, 1): a small objective would stop far too early.

Names in this file: n [points] parameters, d [points] tokens, losses [points] nats per target;
x, y = log N, log D minus their means.
"""

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np
import scipy.optimize
import threadpoolctl

from gato_jax.errors import GatoError

NAMES = ("E", "A", "B", "alpha", "beta")
DELTA = 1e-3  # of the Huber loss, in units of log L
REPETITION_DECAY = 15.39  # epochs (Muennighoff et al. 2023, section 6)
_LARGEST_EXPONENT = 3.0
_DESCENTS = 8  # L-BFGS runs, from the best of all starting points
_START_EXPONENTS = (0.05, 0.2, 0.35, 0.6, 1.0, 1.6)
# A term below this share of the loss at the middle of the data counts as vanished.
_VANISHED = 1e-3
# Logarithms of the terms are optimised, so a term needs a lower bound: this share of the smallest
# loss.
_SMALLEST_TERM = 1e-6

_Bounds = list[tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Law:
  """The five constants of the law. Losses in nats, N in parameters, D in tokens."""

  E: float
  A: float
  B: float
  alpha: float
  beta: float

  def __call__(self, n: np.ndarray | float, d: np.ndarray | float) -> np.ndarray:
    """Returns the predicted losses of networks of n parameters trained on d tokens."""
    size_term = self.A * np.asarray(n, float) ** -self.alpha
    data_term = self.B * np.asarray(d, float) ** -self.beta
    return self.E + size_term + data_term

  @property
  def size_exponent(self) -> float:
    """The exponent a of N_opt ~ C^a, if FLOPs are proportional to N D."""
    total = self.alpha + self.beta
    return self.beta / total if total else float("nan")

  def undetermined(self, n: np.ndarray, d: np.ndarray) -> tuple[str, ...]:
    """Returns the names of the constants that the points n, d [points] do not determine.

    These are exponents at an end of their range and terms that vanished.
    """
    middle_n, middle_d = (float(np.exp(np.log(values).mean())) for values in (n, d))
    terms = {
      "E": self.E,
      "A": self.A * middle_n**-self.alpha,
      "B": self.B * middle_d**-self.beta,
    }
    total = sum(terms.values())
    vanished = [name for name, value in terms.items() if value < _VANISHED * total]

    # L-BFGS-B stops exactly at a bound or just inside of it.
    exponents = {"alpha": self.alpha, "beta": self.beta}
    at_bounds = [
      name for name, value in exponents.items() if not 1e-6 < value < _LARGEST_EXPONENT - 1e-6
    ]

    return tuple(vanished + at_bounds)


def effective_tokens(tokens: np.ndarray | float, unique: np.ndarray | float) -> np.ndarray:
  """Returns the new tokens that are worth as much as tokens of which some are repetitions.

  Muennighoff et al. 2023, equation 5: D' = U + U R (1 - exp(-(D / U - 1) / R)), with their R of
  15.39 epochs. Without repetitions D' is D.

  Args:
    tokens: D, tokens trained on.
    unique: U, different ones among them.
  """
  tokens, unique = np.asarray(tokens, float), np.asarray(unique, float)
  repetitions = tokens / unique - 1
  return unique * (1 + REPETITION_DECAY * -np.expm1(-repetitions / REPETITION_DECAY))


def fit(
  n: np.ndarray,
  d: np.ndarray,
  losses: np.ndarray,
  starts: Sequence[Law] = (),
  delta: float = DELTA,
) -> Law:
  """Returns the law with the smallest Huber loss.

  Args:
    n: [points] Parameters.
    d: [points] Tokens.
    losses: [points] Nats per target.
    starts: Starting points. By default a grid of exponents; bootstraps give the best law.
    delta: Of the Huber loss: residuals of log L up to it count as noise, larger ones as outliers.

  Raises:
    GatoError: If there are fewer points than constants, fewer than two sizes or two numbers of
      tokens, or values that are not positive.
  """
  n, d, losses = (np.asarray(values, np.float64) for values in (n, d, losses))
  _check(n, d, losses)

  middle = float(np.log(n).mean()), float(np.log(d).mean())
  x = np.log(n) - middle[0]
  y = np.log(d) - middle[1]
  target = np.log(losses)

  # E is at most the smallest loss. A and B are losses at the middle of the data, so they may be
  # larger than any measured loss; e^3 times the largest one is far enough.
  smallest = float(target.min())
  lowest = smallest + float(np.log(_SMALLEST_TERM))
  highest = float(target.max()) + 3.0
  bounds = [(lowest, smallest), (lowest, highest), (lowest, highest)]
  bounds += 2 * [(0.0, _LARGEST_EXPONENT)]

  initial = [_to_constants(law, middle, bounds) for law in starts]
  if not initial:
    candidates = _starting_grid(x, y, losses, bounds)
    candidates.sort(key=lambda start: _objective(start, x, y, target, delta)[0])
    initial = candidates[:_DESCENTS]

  # Five constants: threads of the BLAS would only wait for each other, forty times as long.
  with _blas().limit(limits=1, user_api="blas"):
    solutions = [
      scipy.optimize.minimize(
        _objective,
        start,
        args=(x, y, target, delta),
        jac=True,
        method="L-BFGS-B",
        bounds=bounds,
        options={"maxiter": 500, "ftol": 1e-11, "gtol": 1e-6},
      )
      for start in initial
    ]
  best = min(solutions, key=lambda solution: solution.fun)

  # A and B of the optimizer are those of centred x and y.
  log_e, log_a, log_b, alpha, beta = best.x
  return Law(
    E=float(np.exp(log_e)),
    A=float(np.exp(log_a + alpha * middle[0])),
    B=float(np.exp(log_b + beta * middle[1])),
    alpha=float(alpha),
    beta=float(beta),
  )


def huber(law: Law, n: np.ndarray, d: np.ndarray, losses: np.ndarray) -> float:
  """Returns the objective of `fit`, summed over the points, in units of DELTA^2."""
  r = np.abs(np.log(law(n, d)) - np.log(losses)) / DELTA
  return float(np.where(r <= 1, 0.5 * r**2, r - 0.5).sum())


def residuals(law: Law, n: np.ndarray, d: np.ndarray, losses: np.ndarray) -> np.ndarray:
  """Returns log(loss / predicted loss), [points]."""
  return np.log(np.asarray(losses, float)) - np.log(law(n, d))


@functools.cache
def _blas() -> threadpoolctl.ThreadpoolController:
  """Returns the controller of the libraries' threads, which takes a while to find them."""
  return threadpoolctl.ThreadpoolController()


def _objective(
  constants: np.ndarray, x: np.ndarray, y: np.ndarray, target: np.ndarray, delta: float
) -> tuple[float, np.ndarray]:
  """Returns the Huber loss and its gradient.

  Args:
    constants: (log E, log A, log B, alpha, beta), of centred x and y.
    x: [points] Centred log N.
    y: [points] Centred log D.
    target: [points] Log of the losses.
    delta: Of the Huber loss.
  """
  log_e, log_a, log_b, alpha, beta = constants

  # The log of the predicted loss is the logsumexp of the logs of the three terms.
  terms = np.stack([np.full_like(x, log_e), log_a - alpha * x, log_b - beta * y])
  largest = terms.max(axis=0)
  shares = np.exp(terms - largest)
  total = shares.sum(axis=0)
  r = (largest + np.log(total) - target) / delta
  value = np.where(np.abs(r) <= 1, 0.5 * r**2, np.abs(r) - 0.5).sum()

  # The derivative of the logsumexp by a term is the term's share, and that of the Huber loss by
  # its residual is the residual, clipped.
  shares /= total
  slope = np.clip(r, -1, 1) / delta
  by_e, by_a, by_b = (slope * shares).sum(axis=1)
  by_alpha = -(slope * shares[1] * x).sum()
  by_beta = -(slope * shares[2] * y).sum()

  return value, np.array([by_e, by_a, by_b, by_alpha, by_beta])


def _starting_grid(
  x: np.ndarray, y: np.ndarray, losses: np.ndarray, bounds: _Bounds
) -> list[np.ndarray]:
  """Returns a starting point for every pair of exponents.

  With fixed exponents the law is linear in E, A and B, so non-negative least squares of the
  relative errors gives these.
  """
  starts = []
  for alpha, beta in itertools.product(_START_EXPONENTS, repeat=2):
    columns = np.stack([np.ones_like(x), np.exp(-alpha * x), np.exp(-beta * y)], axis=1)
    factors, _ = scipy.optimize.nnls(columns / losses[:, None], np.ones_like(losses))

    # A factor may be 0, which has no logarithm.
    log_factors = np.log(np.maximum(factors, 1e-300))
    starts.append(_clip([*log_factors, alpha, beta], bounds))

  return starts


def _to_constants(law: Law, middle: tuple[float, float], bounds: _Bounds) -> np.ndarray:
  """Returns the optimizer's constants of a law, within the bounds."""
  log_e, log_a, log_b = (np.log(max(value, 1e-300)) for value in (law.E, law.A, law.B))
  log_a -= law.alpha * middle[0]
  log_b -= law.beta * middle[1]
  return _clip([log_e, log_a, log_b, law.alpha, law.beta], bounds)


def _clip(values: Sequence[float], bounds: _Bounds) -> np.ndarray:
  lowest, highest = np.array(bounds).T
  return np.clip(values, lowest, highest)


def _check(n: np.ndarray, d: np.ndarray, losses: np.ndarray) -> None:
  """Raises GatoError if the points cannot determine a law."""
  values = np.concatenate([n, d, losses])
  if not (np.isfinite(values).all() and (values > 0).all()):
    raise GatoError(
      "scaling law: every point needs positive parameters, tokens and loss; remove the one that"
      " has none"
    )

  sizes, budgets = len(np.unique(n)), len(np.unique(d))
  if len(losses) < len(NAMES) or sizes < 2 or budgets < 2:
    raise GatoError(
      f"scaling law: {len(losses)} points of {sizes} sizes and {budgets} budgets cannot"
      f" determine {len(NAMES)} constants; train more (python -m launch sweep)"
    )
