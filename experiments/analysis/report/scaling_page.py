"""Writes the page of a sweep, with its figures inside it, and PNGs, SVGs and CSVs beside it."""

import dataclasses
import operator
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console

from experiments.analysis.report import console as terminal
from experiments.analysis.report import html, scaling_comparisons, scaling_figures
from experiments.analysis.scaling import analysis, bootstrap, compare, family, isoflop, law
from experiments.analysis.scaling.points import POOLED, ScalingPoint
from experiments.analysis.scaling.predictions import PredictedLoss


def write(
  out: pathlib.Path,
  points: Sequence[ScalingPoint],
  series: Sequence[analysis.Series],
  others: Sequence[analysis.Series],
  facts: Mapping[str, Any],
  predicted: Sequence[PredictedLoss] = (),
) -> pathlib.Path:
  """Writes index.html, figures and CSVs into `out` and returns the page's path.

  Args:
    out: The report's directory.
    points: All points of the sweep.
    series: The analysis that is drawn.
    others: The analysis with another meaning of N, for the tables.
    facts: Label -> text; "commands", a list, is printed as a block.
    predicted: Losses that were predicted before their runs.
  """
  curve = compare.score_curve(points)
  profiles = compare.rates(points)
  drawn = scaling_figures.draw(points, series, out)
  drawn |= scaling_comparisons.draw(points, curve, profiles, out)
  all_series = (*series, *others)
  tables: dict[str, list[dict[str, Any]]] = {
    "fits": [row for one_series in all_series for row in fit_rows(one_series)],
    "optima": [row for one_series in all_series for row in optimum_rows(one_series)],
    "predictions": [row for one_series in all_series for row in prediction_rows(one_series)],
    "predicted_before": predicted_rows(points, predicted),
    "published": [row for one_series in all_series for row in published_rows(one_series)],
    "rates": [dataclasses.asdict(profile) for profile in profiles],
    # Approach 2 is shown for the pooled loss only.
    "isoflops": [
      row
      for one_series in all_series
      if one_series.domain == POOLED
      for row in isoflop_rows(one_series)
    ],
  }
  point_rows = [_point_row(point) for point in points]

  for name, rows in {"points": point_rows, **tables}.items():
    html.write_csv(out / f"{name}.csv", rows)

  unfitted = [
    (one_series.domain, one_series.size, one_series.reason)
    for one_series in all_series
    if one_series.fit is None
  ]
  path = out / "index.html"
  html.write(
    path,
    "scaling.html",
    filters={"number": number},
    points=point_rows,
    figures={name: html.embed(png) for name, png in drawn.items()},
    unfitted=unfitted,
    level=bootstrap.LEVEL,
    exponents=_exponents(series[0]),
    noise=series[0].noise,
    schedules=compare.schedules(points),
    curve=curve,
    disagreements=compare.disagreements(points, series[0].noise),
    repeated=sum(point.epochs > 1 for point in points),
    beside=[point for point in points if point.family != family.NAME],
    **tables,
    **html.made_by(facts),
  )
  return path


def fit_rows(series: analysis.Series) -> list[dict[str, Any]]:
  """Returns one row with the constants and their intervals, none without a fit."""
  fit = series.fit
  if fit is None:
    return []

  row: dict[str, Any] = {"domain": series.domain, "size": series.size, "points": len(series.fitted)}
  for name in law.NAMES:
    low, high = fit.interval(operator.attrgetter(name))
    row[name] = getattr(fit.best, name)
    row |= {f"{name}_low": float(low), f"{name}_high": float(high)}

  # A draw may leave a constant undetermined that all points together determine.
  n, d = series.n(), series.d()
  undetermined_draws = sum(bool(draw.undetermined(n, d)) for draw in fit.draws)
  # Errors are differences of logs, which are relative errors if they are small.
  row["mean_relative_error"] = float(abs(fit.errors).mean())
  row["undetermined"] = " ".join(fit.best.undetermined(n, d))
  row["draws_with_undetermined"] = undetermined_draws / len(fit.draws)
  return [row]


def optimum_rows(series: analysis.Series) -> list[dict[str, Any]]:
  """Returns one row per budget."""
  rows = []
  for optimum in series.optima:
    row: dict[str, Any] = {"domain": optimum.domain, "size": series.size, "flops": optimum.flops}
    for name in ("n", "d", "loss"):
      value, low, high = getattr(optimum, name)
      row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    rows.append(row | {"inside": optimum.inside})

  return rows


def prediction_rows(series: analysis.Series) -> list[dict[str, Any]]:
  """Returns one row per run that was left out of the fit."""
  return [
    {
      "domain": prediction.domain,
      "size": series.size,
      "run": prediction.point.name,
      "measured": prediction.measured,
      "predicted": prediction.predicted,
      "low": prediction.low,
      "high": prediction.high,
      "relative_error": prediction.error,
      "within": prediction.low <= prediction.measured <= prediction.high,
    }
    for prediction in series.predictions
  ]


def predicted_rows(
  points: Sequence[ScalingPoint], predicted: Sequence[PredictedLoss]
) -> list[dict[str, Any]]:
  """Returns one row per loss that was predicted before its run, with what was measured."""
  by_name = {point.name: point for point in points}
  rows = []
  for prediction in predicted:
    point = by_name.get(prediction.run)
    measured = point.loss_of(prediction.domain) if point else None
    rows.append(
      {
        "domain": prediction.domain,
        "size": prediction.size,
        "run": prediction.run,
        "predicted_at": prediction.time,
        "started": point.started if point else None,
        "fitted": prediction.fitted,
        "predicted": prediction.loss,
        "low": prediction.low,
        "high": prediction.high,
        "measured": measured,
        "relative_error": prediction.loss / measured - 1 if measured else None,
        "within": prediction.low <= measured <= prediction.high if measured else None,
      }
    )
  return rows


def published_rows(series: analysis.Series) -> list[dict[str, Any]]:
  """Returns one row per size of the paper's networks: the budget at which it would be best."""
  if series.domain != POOLED or series.fit is None or series.size != analysis.SIZES[0]:
    return []

  rows = []
  for estimate in analysis.published_sizes(series):
    row = {"network": estimate.name, "n": estimate.n}
    for name in ("flops", "d", "loss"):
      value, low, high = getattr(estimate, name)
      row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    rows.append(row | {"times_largest": estimate.n / series.n().max()})
  return rows


def isoflop_rows(series: analysis.Series) -> list[dict[str, Any]]:
  """Returns one row per parabola."""
  return [
    {
      "size": series.size,
      "flops": parabola.flops,
      "sizes": len(parabola.n),
      "minimum": parabola.minimum,
      "minimum_low": parabola.interval[0] if parabola.interval else None,
      "minimum_high": parabola.interval[1] if parabola.interval else None,
      "inside": parabola.inside,
      "loss": parabola.loss,
    }
    for parabola in series.isoflops
  ]


def show(series: Sequence[analysis.Series], console: rich.console.Console | None = None) -> None:
  """Prints the fits and predictions."""
  headings = [*law.NAMES, "left out: measured", "predicted"]
  shown = terminal.table(left=["domain"], right=headings)
  for one_series in series:
    fit = one_series.fit
    if fit is None:
      terminal.add_row(shown, [one_series.domain, one_series.reason])
      continue

    cells = [one_series.domain]
    for name in law.NAMES:
      low, high = fit.interval(operator.attrgetter(name))
      cells.append(f"{getattr(fit.best, name):.3g} [{low:.3g}, {high:.3g}]")
    if one_series.predictions:
      # Several seeds of the largest run have the same prediction.
      first = one_series.predictions[0]
      cells.append(f"{first.measured:.4f}")
      cells.append(f"{first.predicted:.4f} [{first.low:.4f}, {first.high:.4f}]")
    terminal.add_row(shown, cells)

  terminal.fitting(console, shown).print(shown)


def number(value: Any) -> str:
  """Returns a number in four digits, with a unit if it is large; a dash for None."""
  if value is None or value == "":
    return "–"
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)

  if abs(value) >= 1e12 or 0 < abs(value) < 1e-3:
    return f"{value:.3e}"
  # Four digits show up to 9,999 without a unit.
  for unit, least, size in (("B", 1e9, 1e9), ("M", 1e6, 1e6), ("k", 1e4, 1e3)):
    if abs(value) >= least:
      return f"{value / size:.4g}{unit}"
  return f"{value:.4g}"


def _exponents(series: analysis.Series) -> dict[str, float | None]:
  """Returns a of N_opt ~ C^a by the parabolas, and by the law if C is proportional to N D."""
  by_law = series.fit.best.size_exponent if series.fit else None
  return {"isoflop": isoflop.exponent(series.isoflops), "law": by_law}


def _point_row(point: ScalingPoint) -> dict[str, Any]:
  """Returns a point as a flat row, with a column for each domain's loss."""
  row = dataclasses.asdict(point)
  losses = row.pop("losses")

  return row | {f"loss/{name}": value for name, value in sorted(losses.items())}
