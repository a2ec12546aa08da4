"""The network and the tokens that a number of FLOPs is best spent on."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import scipy.optimize

from gato_jax.scaling.law import Law

_REACH = 1e3  # how far beyond the sizes of the data the optimum is looked for, up and down
_GRID = 400


@dataclasses.dataclass(frozen=True)
class Cost:
  """FLOPs a token of a network of N parameters: weights N + logits N^(1/3) + constant.

  Products with weights cost in proportion to N, the logits in proportion to the width, which grows as the cube root
  where depth grows with it, patches the same whatever the size. By the convention C = 6 N D weights is 6, the rest 0.
  """

  weights: float
  logits: float
  constant: float

  def __call__(self, n: np.ndarray) -> np.ndarray:
    n = np.asarray(n, float)
    return self.weights * n + self.logits * np.cbrt(n) + self.constant


def cost(n: np.ndarray, d: np.ndarray, flops: np.ndarray) -> Cost:
  """Fitted to points [points], in relative error, with terms that are not negative."""
  n, each = np.asarray(n, float), np.asarray(flops, float) / np.asarray(d, float)
  columns = np.stack([n, np.cbrt(n), np.ones_like(n)], axis=1)
  scale = columns.max(axis=0)
  solved, _ = scipy.optimize.nnls(columns / scale / each[:, None], np.ones_like(each))
  return Cost(*(float(value) for value in solved / scale))


@dataclasses.dataclass(frozen=True)
class Optimum:
  """The best size and tokens of a budget under a law. inside: whether it lies among the sizes it was fitted to."""

  flops: float
  n: float
  d: float
  loss: float
  inside: bool


def optimum(law: Law, cost_of: Cost, flops: float, sizes: Sequence[float]) -> Optimum:
  """Minimises L(N, C / cost(N)) over N; sizes: of the data."""
  low, high = np.log(min(sizes) / _REACH), np.log(max(sizes) * _REACH)

  def loss(log_n: np.ndarray) -> np.ndarray:
    n = np.exp(log_n)
    return law(n, flops / cost_of(n))

  grid = np.linspace(low, high, _GRID)
  place = int(np.argmin(loss(grid)))
  around = grid[max(0, place - 1)], grid[min(_GRID - 1, place + 1)]
  best = scipy.optimize.minimize_scalar(loss, bounds=around, method="bounded", options={"xatol": 1e-6}).x
  n = float(np.exp(best))
  return Optimum(flops, n, float(flops / cost_of(n)), float(loss(best)), min(sizes) <= n <= max(sizes))
