"""Says before a sweep what it costs and how well its runs would determine the law.

The standard errors are those of a least-squares fit of log L to the planned N and D (Cramer-Rao),
with the law fitted so far or an assumed one, and with the noise between seeds or an assumed one. So
they are known before any loss is.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np

from experiments.analysis.scaling import analysis, law
from experiments.analysis.scaling.design import Design
from experiments.analysis.scaling.points import ScalingPoint
from experiments.analysis.scaling.runs import SweepConfig, SweepRun
from gato_jax.errors import GatoError

# Before anything is measured: the exponents of Besiroglu et al. 2024, and a loss that is half floor
# in the middle of the runs.
_ASSUMED_EXPONENTS = (0.35, 0.37)
_ASSUMED_FLOOR = 0.5
_ASSUMED_NOISE = 0.005  # of log L
# A constant with a larger error is not determined by the runs.
_DETERMINED = 0.33
_LEAST_POINTS = 8  # for a law of the sweep's own


@dataclasses.dataclass(frozen=True)
class Forecast:
  """Cost and expected precision of planned runs.

  Attributes:
    runs: Number of runs.
    flops: Of all of them, each from its beginning.
    errors: Name of a constant of the law -> its relative standard error; infinite where the runs
      cannot tell it from the others.
  """

  runs: int
  flops: float
  errors: dict[str, float]

  @property
  def undetermined(self) -> list[str]:
    """Constants with too large an error."""
    return [name for name in law.NAMES if not self.errors[name] < _DETERMINED]


def standard_errors(n: np.ndarray, d: np.ndarray, truth: law.Law, noise: float) -> dict[str, float]:
  """Returns the relative standard errors of the law's constants.

  Args:
    n: [runs] Parameters.
    d: [runs] Tokens.
    truth: The law.
    noise: Standard deviation of log L between runs that differ in their seeds.
  """
  x, y = np.log(n), np.log(d)
  size_term = truth.A * np.exp(-truth.alpha * x)
  data_term = truth.B * np.exp(-truth.beta * y)
  total = truth.E + size_term + data_term

  # Derivatives of log L by the logarithms of E, A, B, alpha and beta, whose errors are relative.
  columns = [
    np.full_like(x, truth.E),
    size_term,
    data_term,
    -truth.alpha * x * size_term,
    -truth.beta * y * data_term,
  ]
  jacobian = np.stack(columns, axis=1) / total[:, None]

  information = jacobian.T @ jacobian / noise**2
  scale = np.sqrt(np.diag(information))
  if not (scale > 0).all():
    return dict.fromkeys(law.NAMES, math.inf)
  normalised = information / np.outer(scale, scale)
  if np.linalg.cond(normalised) > 1e12:
    return dict.fromkeys(law.NAMES, math.inf)

  variances = np.diag(np.linalg.inv(normalised)) / scale**2
  return {name: float(math.sqrt(value)) for name, value in zip(law.NAMES, variances, strict=True)}


def forecast(
  runs: Sequence[SweepRun],
  truth: law.Law,
  noise: float,
  parameters: Callable[[SweepRun], int],
  flops: Callable[[SweepRun], float],
) -> Forecast:
  """Returns what runs would show under a law.

  Args:
    runs: The runs that would be fitted.
    truth: The law.
    noise: Standard deviation of log L between seeds.
    parameters: Parameters of a run's network without tables.
    flops: Training FLOPs of a run.
  """
  n = np.array([parameters(run) for run in runs], float)
  d = np.array([run.tokens for run in runs], float)
  return Forecast(len(runs), sum(map(flops, runs)), standard_errors(n, d, truth, noise))


def text(
  config: SweepConfig,
  design: Design,
  measured: Sequence[ScalingPoint],
  grid: Sequence[SweepRun],
  parameters: Callable[[SweepRun], int],
  flops: Callable[[SweepRun], float],
) -> str:
  """Returns the lines that a sweep prints before it starts.

  Args:
    config: The sweep.
    design: Of its budgets.
    measured: Points of the runs that have ended.
    grid: Runs of the grid.
    parameters: Parameters of a run's network without tables.
    flops: Training FLOPs of a run.
  """
  losses = {point.name: point.loss for point in measured}
  outlook = [*grid, *design.outlook(losses)]
  fitted = [run for run in outlook if not run.variant and not run.schedule and run.rate == 1]
  done = {point.name for point in measured}
  missing = [run for run in outlook if run.name not in done]

  lines = [
    f"{len(outlook)} runs, as far as can be seen now; {len(done)} are trained. The others take"
    f" {sum(map(flops, missing)):.2e} FLOPs{_time(measured, sum(map(flops, missing)))}."
  ]
  if len({run.width for run in fitted}) < 2 or len({run.tokens for run in fitted}) < 2:
    return "\n".join([*lines, "One size or one number of tokens determines no law."])

  truth, where = _law(measured, fitted, parameters)
  noise = analysis.seed_noise(measured) or _ASSUMED_NOISE
  now = forecast(fitted, truth, noise, parameters, flops)
  lines.append(
    f"Standard errors of the law's constants, {where}, noise {noise:.2%}: {_errors(now)}."
  )
  if not now.undetermined:
    lines.append("These runs can determine all constants.")
    return "\n".join(lines)

  lines.append(f"These runs cannot determine {', '.join(now.undetermined)}. What would help:")
  for label, more in _additions(config, design, fitted):
    then = forecast([*fitted, *more], truth, noise, parameters, flops)
    lines.append(f"  {label}: {then.flops - now.flops:.2e} FLOPs more, {_errors(then)}")
  return "\n".join(lines)


def _additions(
  config: SweepConfig, design: Design, fitted: Sequence[SweepRun]
) -> list[tuple[str, list[SweepRun]]]:
  """Returns (what is added, its runs) of three ways to know more."""
  again = [dataclasses.replace(run, seed=run.seed + 1000) for run in fitted]
  additions = [("every run with another seed", again)]
  if len(config.budgets) < 2:
    return additions

  ratio = config.budgets[-1] / config.budgets[-2]
  for label, budget in (
    ("a larger budget", config.budgets[-1] * ratio),
    ("a smaller budget", config.budgets[0] / ratio),
  ):
    more = design.at(budget, fitted)
    additions.append((f"{label}, {budget:.3g}", more))
  return additions


def _law(
  measured: Sequence[ScalingPoint],
  fitted: Sequence[SweepRun],
  parameters: Callable[[SweepRun], int],
) -> tuple[law.Law, str]:
  """Returns the law of the points so far, or an assumed one, and which of the two it is."""
  own = analysis.family_points(measured)
  if len(own) >= _LEAST_POINTS:
    n = analysis.sizes(own, analysis.SIZES[0])
    d = analysis.tokens(own)
    losses = np.array([point.loss for point in own])
    try:
      so_far = law.fit(n, d, losses)
    except GatoError:
      pass  # too few sizes yet
    else:
      if not so_far.undetermined(n, d):
        return so_far, f"by the {len(own)} runs so far"

  # The middle of the planned runs has half of the loss as the floor, and two equal terms.
  alpha, beta = _ASSUMED_EXPONENTS
  middle_n = float(np.exp(np.mean([math.log(parameters(run)) for run in fitted])))
  middle_d = float(np.exp(np.mean([math.log(run.tokens) for run in fitted])))
  term = (1 - _ASSUMED_FLOOR) / 2
  assumed = law.Law(
    E=_ASSUMED_FLOOR, A=term * middle_n**alpha, B=term * middle_d**beta, alpha=alpha, beta=beta
  )
  return assumed, f"assuming exponents {alpha} and {beta}"


def _errors(of: Forecast) -> str:
  cells = []
  for name in law.NAMES:
    error = of.errors[name]
    cells.append(f"{name} {error:.0%}" if error < 10 else f"{name} unknown")
  return ", ".join(cells)


def _time(measured: Sequence[ScalingPoint], flops: float) -> str:
  """Returns ", 2.1 hours at the speed so far", or nothing before a run has ended."""
  seconds = sum(point.seconds for point in measured)
  if not seconds or not flops:
    return ""

  # Branched runs train a part of their FLOPs only, so that this is an upper bound.
  speed = sum(point.trained_flops for point in measured) / seconds
  return f", at most {flops / speed / 3600:.1f} hours of one job at the speed so far"
