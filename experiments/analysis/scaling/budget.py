"""Computes the best size of network and number of tokens for a budget of FLOPs."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.optimize

from experiments.analysis.scaling import family
from experiments.analysis.scaling.law import Law

_REACH = 1e3  # the search goes this factor beyond the sizes of the data, up and down
_GRID = 400  # sizes of the coarse search


@dataclasses.dataclass(frozen=True)
class Cost:
  """FLOPs per token of a network of N parameters: weights N + logits N^x + constant.

  Products with weights cost in proportion to N. The logits cost in proportion to the width, which
  is N^x where depth grows with the width as in the family. Patches cost the same for every size.
  The convention C = 6 N D is weights 6 and 0 for the other two.

  Attributes:
    weights: Factor of N.
    logits: Factor of N^x.
    constant: FLOPs per token of any network.
  """

  weights: float
  logits: float
  constant: float

  def __call__(self, n: np.ndarray | float) -> np.ndarray:
    n = np.asarray(n, float)
    return self.weights * n + self.logits * n**family.WIDTH_EXPONENT + self.constant


def cost(n: np.ndarray, d: np.ndarray, flops: np.ndarray) -> Cost:
  """Fits the cost to points [points] by non-negative least squares of the relative errors."""
  n = np.asarray(n, float)
  flops_per_token = np.asarray(flops, float) / np.asarray(d, float)

  # Columns are scaled to 1, since N is many orders of magnitude above its root.
  columns = np.stack([n, n**family.WIDTH_EXPONENT, np.ones_like(n)], axis=1)
  scale = columns.max(axis=0)
  relative = columns / scale / flops_per_token[:, None]
  factors, _ = scipy.optimize.nnls(relative, np.ones_like(flops_per_token))

  weights, logits, constant = (float(value) for value in factors / scale)
  return Cost(weights, logits, constant)


def best_tokens(law: Law, cost_of: Cost, n: float) -> float:
  """Returns the tokens at which N parameters are the best size of the budget that they take.

  There the loss falls neither with a larger network nor with more tokens at the same FLOPs: with
  the elasticity e of the cost per token, alpha A / N^alpha = e beta B / D^beta.
  """
  slope = (cost_of(1.001 * n) - cost_of(n)) / (0.001 * n)
  elasticity = float(slope * n / cost_of(n))
  size_slope = law.alpha * law.A * n**-law.alpha
  return float((elasticity * law.beta * law.B / size_slope) ** (1 / law.beta))


@dataclasses.dataclass(frozen=True)
class ComputeOptimum:
  """The best size and number of tokens of a budget under a law.

  Attributes:
    flops: The budget.
    n: Parameters of the best network.
    d: Tokens that the budget leaves for it.
    loss: Loss that the law predicts for it.
    inside: True if n lies among the sizes that the law was fitted to.
  """

  flops: float
  n: float
  d: float
  loss: float
  inside: bool


def optimum(
  law: Law, cost_of: Cost, flops: float, sizes: Sequence[float] | np.ndarray
) -> ComputeOptimum:
  """Minimises L(N, C / cost(N)) over N.

  Args:
    law: The law to minimise.
    cost_of: FLOPs per token of N parameters.
    flops: The budget C.
    sizes: Parameters of the networks that the law was fitted to.
  """
  smallest, largest = min(sizes), max(sizes)
  low, high = np.log(smallest / _REACH), np.log(largest * _REACH)

  def loss(log_n: np.ndarray | float) -> np.ndarray:
    n = np.exp(log_n)
    return law(n, flops / cost_of(n))

  # The bounded minimiser finds a local minimum only, so a grid finds its neighbourhood first.
  grid = np.linspace(low, high, _GRID)
  lowest = int(np.argmin(loss(grid)))
  bounds = grid[max(0, lowest - 1)], grid[min(_GRID - 1, lowest + 1)]
  best = scipy.optimize.minimize_scalar(
    loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}
  ).x
  n = float(np.exp(best))

  return ComputeOptimum(
    flops=flops,
    n=n,
    d=float(flops / cost_of(n)),
    loss=float(loss(best)),
    inside=bool(smallest <= n <= largest),
  )
