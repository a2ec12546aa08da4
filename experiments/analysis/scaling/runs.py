"""Defines a sweep and its runs: their networks, lengths and seeds, and the settings of each."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.analysis.scaling import family
from gato_jax.errors import GatoError, check_name
from gato_jax.train.optimizer import SCHEDULES

_LEAST_SIZES = 5  # a parabola through fewer says little about its minimum


@dataclasses.dataclass(frozen=True)
class SweepConfig:
  """A sweep: sizes around the best one at each budget, or a grid of widths and tokens, or both.

  Attributes:
    budgets: Training FLOPs, ascending. At each, networks around the size that the cheaper budgets
      lead to expect are trained, and further ones until the best size has smaller and larger
      neighbours (design.py).
    sizes: Networks at each budget, before any is added.
    most_sizes: Networks at a budget, after which none is added.
    size_factor: Ratio of the parameters of neighbouring networks at a budget.
    first_tokens_per_parameter: Expected ratio of the best size at the cheapest budget.
    repeated_budgets: So many of the cheapest budgets are also trained with `repeat_seeds`. The
      scatter between seeds is the noise of the fits.
    repeat_seeds: Further seeds of these budgets.
    cosine_budget: Number of the budget, from 1, whose runs are also trained with a cosine schedule
      each; 0 for none.
    predicted_budgets: So many of the largest budgets are predicted before they are trained, and
      are not fitted.
    widths: Widths of the grid.
    variants: The paper's networks in the grid, e.g. "gato_79m"; they are never fitted with others.
    tokens: Tokens of each run of the grid, padding included, rounded to whole batches.
    rates: Factors of the peak learning rate in the grid.
    seeds: Seeds of every run, of the parameters and of the order of the data.
    branch: Begin a run with the stable part of the next shorter run of its network, where
      optimizer.schedule is "wsd" (gato_jax/train/branch.py).
  """

  budgets: tuple[float, ...] = ()
  sizes: int = 5
  most_sizes: int = 9
  size_factor: float = 2.0
  first_tokens_per_parameter: float = 20.0
  repeated_budgets: int = 2
  repeat_seeds: tuple[int, ...] = (1,)
  cosine_budget: int = 0
  predicted_budgets: int = 1
  widths: tuple[int, ...] = ()
  variants: tuple[str, ...] = ()
  tokens: tuple[int, ...] = ()
  rates: tuple[float, ...] = (1.0,)
  seeds: tuple[int, ...] = (0,)
  branch: bool = True

  def __post_init__(self) -> None:
    for name in ("budgets", "widths", "tokens", "rates"):
      _check_numbers(name, getattr(self, name), positive=True)
    for name in ("seeds", "repeat_seeds"):
      _check_numbers(name, getattr(self, name), positive=False)

    if not self.budgets and not (self.tokens and (self.widths or self.variants)):
      raise GatoError(
        "scaling: nothing to train; give scaling.budgets, or scaling.tokens with scaling.widths or "
        "scaling.variants"
      )
    if list(self.budgets) != sorted(self.budgets):
      raise GatoError(f"scaling.budgets={self.budgets}: ascending, the cheapest first")
    if not _LEAST_SIZES <= self.sizes <= self.most_sizes:
      raise GatoError(
        f"scaling.sizes={self.sizes} and scaling.most_sizes={self.most_sizes}: at least"
        f" {_LEAST_SIZES}, and the second at least as large as the first"
      )
    if self.size_factor <= 1:
      raise GatoError(f"scaling.size_factor={self.size_factor}: a ratio above 1")
    if set(self.seeds) & set(self.repeat_seeds):
      raise GatoError(f"scaling.repeat_seeds={self.repeat_seeds}: none of scaling.seeds")
    if self.budgets and not 0 <= self.predicted_budgets < len(self.budgets):
      raise GatoError(
        f"scaling.predicted_budgets={self.predicted_budgets}: fewer than the"
        f" {len(self.budgets)} budgets, so that some are fitted"
      )
    if not 0 <= self.cosine_budget <= len(self.budgets):
      raise GatoError(
        f"scaling.cosine_budget={self.cosine_budget}: the number of one of the"
        f" {len(self.budgets)} budgets, or 0"
      )

    for width in self.widths:
      family.network(width)
    for variant in self.variants:
      family.published(variant)


@dataclasses.dataclass(frozen=True)
class SweepRun:
  """One run of a sweep.

  Attributes:
    tokens: Positions to train on, padding included.
    seed: Of the parameters and of the order of the data.
    width: Of a network of the family; 0 for one of the paper's.
    variant: Name of one of the paper's networks, or "".
    budget: FLOPs of the budget that it belongs to; 0 for a run of the grid.
    rate: Factor of the peak learning rate.
    schedule: Of the learning rate; "" for the config's.
  """

  tokens: int
  seed: int
  width: int = 0
  variant: str = ""
  budget: float = 0.0
  rate: float = 1.0
  schedule: str = ""

  def __post_init__(self) -> None:
    if self.schedule:
      check_name(self.schedule, SCHEDULES, "schedule")

  @property
  def network(self) -> dict[str, Any]:
    """The fields of GatoConfig that the run sets."""
    return family.published(self.variant) if self.variant else family.network(self.width)

  @property
  def name(self) -> str:
    """Name of the run and of its directory, e.g. "c1e+12-w64-s0" or "w64-t600k-s0-r2"."""
    size = self.variant or f"w{self.width}"
    if self.budget:
      parts = [f"c{self.budget:.3g}".replace("e+", "e"), size]
    else:
      short = f"{self.tokens // 1000}k" if self.tokens % 1000 == 0 else str(self.tokens)
      parts = [size, f"t{short}"]

    parts.append(f"s{self.seed}")
    if self.rate != 1:
      parts.append(f"r{self.rate:.4g}")
    if self.schedule:
      parts.append(self.schedule)
    return "-".join(parts)

  def steps(self, batch_tokens: int) -> int:
    """Returns the number of training steps with batches of so many tokens, at least 1."""
    return max(1, round(self.tokens / batch_tokens))


def grid(config: SweepConfig) -> list[SweepRun]:
  """Returns the runs of the grid, ordered by tokens, then size.

  A sweep that is interrupted then has complete small budgets.
  """
  networks: list[dict[str, Any]] = [{"width": width} for width in sorted(config.widths)]
  networks += [{"variant": variant} for variant in config.variants]

  return [
    SweepRun(tokens, seed, rate=rate, **size)
    for tokens, size, rate, seed in itertools.product(
      sorted(config.tokens), networks, config.rates, config.seeds
    )
  ]


def settings(
  run: SweepRun, batch_tokens: int, peak_learning_rate: float, branch_from: str = ""
) -> Mapping[str, Any]:
  """Returns the settings that a run changes in the sweep's config, by dotted name.

  Args:
    run: The run.
    batch_tokens: Tokens of a batch.
    peak_learning_rate: The config's.
    branch_from: Workdir of the run that this one branches from, or "".
  """
  changed: dict[str, Any] = {f"model.{name}": value for name, value in run.network.items()}
  changed |= {
    "optimizer.peak_learning_rate": peak_learning_rate * run.rate,
    "train.steps": run.steps(batch_tokens),
    "train.seed": run.seed,
    "data.seed": run.seed,
  }

  if run.schedule:
    changed["optimizer.schedule"] = run.schedule
  if branch_from:
    changed["train.branch_from"] = branch_from
  return changed


def overrides(changed: Mapping[str, Any]) -> Sequence[str]:
  """Returns settings as command-line flags."""
  return tuple(f"--config.{name}={value}" for name, value in changed.items())


def _check_numbers(name: str, values: Sequence[float], positive: bool) -> None:
  """Raises GatoError unless the numbers are different and positive, or not negative."""
  # A seed may be 0, a width or a number of tokens may not.
  too_small = any(value <= 0 if positive else value < 0 for value in values)
  if too_small or len(set(values)) != len(values):
    kind = "positive" if positive else "non-negative"
    raise GatoError(f"scaling.{name}={tuple(values)}: different {kind} numbers")
