"""Chooses the runs of a sweep by budgets: isoFLOP profiles with an inner minimum.

At the cheapest budget, sizes are spread around a given number of tokens per parameter. At each
further one they are spread around the size that the minima of the cheaper budgets lead to expect.
A profile whose best size is the smallest or the largest one, or could be within the noise between
seeds, is extended on that side. So the runs of a budget depend on the losses of the cheaper ones,
and a sweep is planned again whenever its runs have ended. The plan is a function of the config and
of these losses, and comes out the same after a restart.
"""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from experiments.analysis.scaling import family, isoflop
from experiments.analysis.scaling.noise import between_seeds
from experiments.analysis.scaling.runs import SweepConfig, SweepRun

# Exponents of the best size over the budget beyond these are taken for noise of few minima.
_EXPONENTS = (0.3, 0.7)
_FIRST_EXPONENT = 0.5  # of Hoffmann et al. 2022, before two minima are known

# Share of the draws of the noise between seeds that must have an inner minimum.
_SURE = 0.9


# Width -> losses, one per seed.
_Profile = Mapping[int, Sequence[float]]


@dataclasses.dataclass(frozen=True)
class Stage:
  """One budget.

  Attributes:
    budget: Training FLOPs.
    runs: All of its runs that are known.
    finished: True if the profile needs no further run.
    minimum: Best number of parameters; None before `finished`, or where the cap on sizes came
      before any inner minimum.
    predicted: True if its losses are predicted before it is trained.
  """

  budget: float
  runs: tuple[SweepRun, ...]
  finished: bool
  minimum: float | None
  predicted: bool


class Design:
  """The budgets of a sweep, planned from the losses that are known."""

  def __init__(
    self,
    config: SweepConfig,
    flops_per_token: Callable[[int], float],
    patch_channels: int,
    batch_tokens: int,
  ):
    """Prepares the plan.

    Args:
      config: The sweep.
      flops_per_token: Width -> training FLOPs per token.
      patch_channels: Of the networks.
      batch_tokens: Tokens of a batch.
    """
    self._config = config
    self._flops_per_token = flops_per_token
    self._patch_channels = patch_channels
    self._batch_tokens = batch_tokens

  def stages(self, losses: Mapping[str, float]) -> list[Stage]:
    """Returns the budgets up to the first that is not finished.

    Args:
      losses: Name of a run -> its validation loss.
    """
    stages: list[Stage] = []
    minima: list[tuple[float, float]] = []

    for number, budget in enumerate(self._config.budgets, 1):
      cheaper = [run for stage in stages for run in stage.runs]
      expected = self.expected_size(budget, minima)
      stage = self._stage(number, budget, expected, losses, cheaper=cheaper)
      stages.append(stage)
      if not stage.finished:
        break
      if stage.minimum is not None:
        minima.append((budget, stage.minimum))

    return stages

  def outlook(self, losses: Mapping[str, float]) -> list[SweepRun]:
    """Returns the runs of all budgets; what is not planned yet is as expected now."""
    stages = self.stages(losses)
    runs = [run for stage in stages for run in stage.runs]
    minima = [(stage.budget, stage.minimum) for stage in stages if stage.minimum is not None]

    for number, budget in enumerate(self._config.budgets[len(stages) :], len(stages) + 1):
      # The first budget is always planned; until its minimum is known, it is where it is expected.
      known = minima or [(stages[0].budget, self.expected_size(stages[0].budget, []))]
      widths = self._first_widths(self.expected_size(budget, known))
      runs += self._runs(number, budget, widths)
    return runs

  def at(self, budget: float, runs: Sequence[SweepRun]) -> list[SweepRun]:
    """Returns the runs that a further budget would have, beside others."""
    by_budget: dict[float, list[float]] = {run.budget: [] for run in runs if run.budget}
    for run in runs:
      if run.budget:
        by_budget[run.budget].append(math.log(self._parameters(run.width)))
    minima = [(each, math.exp(np.mean(sizes))) for each, sizes in by_budget.items()]

    widths = self._first_widths(self.expected_size(budget, minima))
    return [SweepRun(self.tokens(budget, width), 0, width=width, budget=budget) for width in widths]

  def expected_size(self, budget: float, minima: Sequence[tuple[float, float]]) -> float:
    """Returns the parameters that are expected to be best at a budget.

    Args:
      budget: Training FLOPs.
      minima: (budget, best number of parameters) of cheaper budgets.
    """
    if not minima:
      target = self._config.first_tokens_per_parameter
      return self._parameters(
        min(
          family.widths(),
          key=lambda width: abs(
            math.log(self.tokens(budget, width) / self._parameters(width) / target)
          ),
        )
      )

    exponent = _FIRST_EXPONENT
    log_budgets, log_sizes = np.log(np.array(minima)).T
    if len(minima) > 1:
      exponent = float(np.clip(np.polyfit(log_budgets, log_sizes, 1)[0], *_EXPONENTS))

    # Through the middle of the minima, which scatter.
    log_size = log_sizes.mean() + exponent * (math.log(budget) - log_budgets.mean())
    return float(math.exp(log_size))

  def tokens(self, budget: float, width: int) -> int:
    """Returns the tokens that a budget buys for a width, in whole batches."""
    batches = budget / self._flops_per_token(width) / self._batch_tokens
    return max(1, round(batches)) * self._batch_tokens

  def _parameters(self, width: int) -> int:
    return family.parameters(width, self._patch_channels)

  def _stage(
    self,
    number: int,
    budget: float,
    expected: float,
    losses: Mapping[str, float],
    cheaper: Sequence[SweepRun],
  ) -> Stage:
    widths = self._first_widths(expected)
    runs = self._runs(number, budget, widths)

    while True:
      if any(run.name not in losses for run in runs):
        finished, minimum = False, None
        break

      profile = self._profile(runs, losses)
      parabola = self._parabola(budget, profile, self._noise([*cheaper, *runs], losses))
      minimum = parabola.minimum if parabola else None
      is_sure = parabola is not None and parabola.inside >= _SURE

      further = self._further_width(profile)
      if is_sure or len(widths) >= self._config.most_sizes or further is None:
        finished = True
        break

      widths = sorted([*widths, further])
      runs = self._runs(number, budget, widths)

    return Stage(
      budget=budget,
      runs=tuple(runs),
      finished=finished,
      minimum=minimum,
      predicted=number > len(self._config.budgets) - self._config.predicted_budgets,
    )

  def _first_widths(self, expected: float) -> list[int]:
    """Returns the widths of a new budget, at least scaling.sizes different ones."""
    config = self._config
    all_widths = family.widths()
    offsets = np.arange(config.sizes) - (config.sizes - 1) / 2
    chosen = {
      family.nearest_width(expected * config.size_factor**offset, self._patch_channels)
      for offset in offsets
    }

    # Steps of the family may be larger than the factor, so that two sizes have one width.
    while len(chosen) < config.sizes:
      above = [width for width in all_widths if width > max(chosen)]
      chosen.add(above[0])
    return sorted(chosen)

  def _parabola(
    self, budget: float, profile: _Profile, noise: float | None
  ) -> isoflop.IsoFlop | None:
    """Returns the parabola of a profile whose lowest loss lies between smaller and larger sizes."""
    sizes = sorted(profile)
    if np.argmin([np.mean(profile[width]) for width in sizes]) in (0, len(sizes) - 1):
      return None

    runs = [(self._parameters(width), loss) for width in sizes for loss in profile[width]]
    n, losses = np.array(runs, float).T
    return isoflop.exact_profiles(n, np.full(len(n), budget), losses, noise=noise)[0]

  def _noise(self, runs: Iterable[SweepRun], losses: Mapping[str, float]) -> float | None:
    """Returns the standard deviation of log L between seeds, None where no run is repeated."""
    groups: dict[tuple, list[float]] = {}
    for run in runs:
      groups.setdefault((run.budget, run.width, run.schedule), []).append(losses[run.name])
    return between_seeds(groups.values())

  def _further_width(self, profile: _Profile) -> int | None:
    """Returns the width that extends a profile towards its best size; None at the family's end."""
    sizes = sorted(profile)
    best = min(sizes, key=lambda width: np.mean(profile[width]))
    all_widths = family.widths()

    # A best size inside whose parabola has no minimum there is extended where the loss falls.
    grows = sizes.index(best) > (len(sizes) - 1) / 2
    factor = self._config.size_factor if grows else 1 / self._config.size_factor
    end = sizes[-1] if grows else sizes[0]
    nearest = family.nearest_width(self._parameters(end) * factor, self._patch_channels)
    beyond = [width for width in all_widths if (width > end if grows else width < end)]
    if not beyond:
      return None

    # At least one step, where the factor is smaller than that.
    if nearest in beyond:
      return nearest
    return beyond[0] if grows else beyond[-1]

  def _runs(self, number: int, budget: float, widths: Iterable[int]) -> list[SweepRun]:
    config = self._config
    seeds = list(config.seeds)
    if number <= config.repeated_budgets:
      seeds += config.repeat_seeds
    schedules = ["", "cosine"] if number == config.cosine_budget else [""]

    return [
      SweepRun(self.tokens(budget, width), seed, width=width, budget=budget, schedule=schedule)
      for schedule in schedules
      for width in widths
      for seed in (seeds if not schedule else config.seeds)
    ]

  def _profile(
    self, runs: Sequence[SweepRun], losses: Mapping[str, float]
  ) -> dict[int, list[float]]:
    """Returns width -> losses, one per seed, without the runs of another schedule."""
    by_width: dict[int, list[float]] = {}
    for run in runs:
      if not run.schedule:
        by_width.setdefault(run.width, []).append(losses[run.name])
    return by_width
