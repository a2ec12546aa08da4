"""The page of a sweep: figures inside it, PNGs, SVGs and CSVs beside it."""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import rich.console
import rich.table

from gato_jax.report import html, scaling_figures
from gato_jax.scaling import analysis, bootstrap, isoflop, law
from gato_jax.scaling.points import POOLED, Point

_SHOWN_WIDTH = 230  # a wrapped line is better than a cut number


def write(
  out: pathlib.Path,
  points: Sequence[Point],
  series: Sequence[analysis.Series],
  others: Sequence[analysis.Series],
  facts: Mapping[str, Any],
) -> pathlib.Path:
  """Writes index.html, figures and CSVs into `out` and returns the page's path.

  Args:
    points: all of the sweep. series: what is drawn. others: the same with another meaning of N, for the tables.
    facts: label -> text; "commands", a list, is printed as a block.
  """
  drawn = scaling_figures.draw(points, series, out)
  fits = [row for one in (*series, *others) for row in fit_rows(one)]
  optima = [row for one in (*series, *others) for row in optimum_rows(one)]
  predictions = [row for one in (*series, *others) for row in prediction_rows(one)]
  isoflops = [row for one in (*series, *others) if one.domain == POOLED for row in isoflop_rows(one)]
  html.write_csv(out / "points.csv", [_flat(point) for point in points])
  tables = {"fits": fits, "optima": optima, "predictions": predictions, "isoflops": isoflops}
  for name, rows in tables.items():
    html.write_csv(out / f"{name}.csv", rows)
  path = out / "index.html"
  html.write(
    path,
    "scaling.html",
    {"number": number},
    points=[_flat(point) for point in points],
    figures={name: html.embed(path) for name, path in drawn.items()},
    **tables,
    unfitted=[(one.domain, one.size, one.reason) for one in (*series, *others) if one.fit is None],
    level=bootstrap.LEVEL,
    exponents=_exponents(series[0]),
    facts={k: v for k, v in facts.items() if k != "commands"},
    commands=facts.get("commands", []),
  )
  return path


def fit_rows(series: analysis.Series) -> list[dict[str, Any]]:
  """One row: the constants with their intervals; none where there is no fit."""
  if series.fit is None:
    return []
  row: dict[str, Any] = {"domain": series.domain, "size": series.size, "points": len(series.fitted)}
  for name in law.NAMES:
    low, high = series.fit.interval(lambda one, name=name: getattr(one, name))
    row |= {name: getattr(series.fit.best, name), f"{name}_low": float(low), f"{name}_high": float(high)}
  errors = abs(series.fit.errors)
  places = series.n(), [point.tokens for point in series.fitted]
  bounds = [one.undetermined(*places) for one in series.fit.draws]
  row["mean_relative_error"] = float(errors.mean())
  row["undetermined"] = " ".join(series.fit.best.undetermined(*places))
  row["draws_with_undetermined"] = sum(map(bool, bounds)) / len(bounds)
  return [row]


def optimum_rows(series: analysis.Series) -> list[dict[str, Any]]:
  rows = []
  for one in series.optima:
    row: dict[str, Any] = {"domain": one.domain, "size": series.size, "flops": one.flops}
    for name in ("n", "d", "loss"):
      row |= dict(zip((name, f"{name}_low", f"{name}_high"), getattr(one, name), strict=True))
    rows.append(row | {"inside": one.inside})
  return rows


def prediction_rows(series: analysis.Series) -> list[dict[str, Any]]:
  return [
    {
      "domain": one.domain,
      "size": series.size,
      "run": one.point.name,
      "measured": one.measured,
      "predicted": one.predicted,
      "low": one.low,
      "high": one.high,
      "relative_error": one.error,
      "within": one.low <= one.measured <= one.high,
    }
    for one in series.predictions
  ]


def isoflop_rows(series: analysis.Series) -> list[dict[str, Any]]:
  return [
    {"size": series.size, "flops": one.flops, "sizes": len(one.n), "minimum": one.minimum, "loss": one.loss}
    for one in series.isoflops
  ]


def show(series: Sequence[analysis.Series], console: rich.console.Console | None = None) -> None:
  """The fits and predictions in a terminal."""
  console = console or rich.console.Console()
  shown = rich.table.Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
  shown.add_column("domain", no_wrap=True)
  for name in (*law.NAMES, "left out: measured", "predicted"):
    shown.add_column(name, justify="right", no_wrap=True)
  for one in series:
    if one.fit is None:
      shown.add_row(one.domain, one.reason)
      continue
    cells = []
    for name in law.NAMES:
      low, high = one.fit.interval(lambda fitted, name=name: getattr(fitted, name))
      cells.append(rf"{getattr(one.fit.best, name):.3g} \[{low:.3g}, {high:.3g}]")
    if one.predictions:
      first = one.predictions[0]
      cells += [f"{first.measured:.4f}", rf"{first.predicted:.4f} \[{first.low:.4f}, {first.high:.4f}]"]
    shown.add_row(one.domain, *cells)
  if console.width < _SHOWN_WIDTH:
    console = rich.console.Console(file=console.file, width=_SHOWN_WIDTH)
  console.print(shown)


def number(value: Any) -> str:
  """Four digits, with a unit where it is large; None is a dash."""
  if value is None or value == "":
    return "–"
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)
  if abs(value) >= 1e12 or 0 < abs(value) < 1e-3:
    return f"{value:.3e}"
  for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e4)):
    if abs(value) >= size:
      return f"{value / (1e3 if unit == 'k' else size):.4g}{unit}"
  return f"{value:.4g}"


def _exponents(series: analysis.Series) -> dict[str, float | None]:
  """a of N_opt ~ C^a by the parabolas, and by the law where C is proportional to N D."""
  by_law = series.fit.best.size_exponent if series.fit else None
  return {"isoflop": isoflop.exponent(list(series.isoflops)), "law": by_law}


def _flat(point: Point) -> dict[str, Any]:
  row = dataclasses.asdict(point)
  losses = row.pop("losses")
  return row | {f"loss/{name}": value for name, value in sorted(losses.items())}
