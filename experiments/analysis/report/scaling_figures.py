"""Figures of a sweep, as PNG and SVG: losses with the law, best sizes, predictions and scores."""

import operator
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.report import drawing
from experiments.analysis.report.drawing import BESIDE, COLORS, DASHED, INK
from experiments.analysis.scaling import analysis, bootstrap, budget, law
from experiments.analysis.scaling.points import POOLED, ScalingPoint

_SIZE_NAMES = {
  "parameters_without_embeddings": "parameters without embeddings",
  "parameters": "parameters",
}
_LOSS = "validation loss, nats per target"
_CURVE = 200  # points along a curve


def draw(
  points: Sequence[ScalingPoint], series: Sequence[analysis.Series], out: pathlib.Path
) -> dict[str, pathlib.Path]:
  """Draws all figures that the points allow.

  Args:
    points: All points of the sweep.
    series: Their analysis, POOLED first.
    out: Directory of the files.

  Returns:
    Name -> PNG in `out`; an SVG lies beside it.
  """
  pooled = series[0]
  drawings: dict[str, Callable[[Figure], None]] = {
    "loss_tokens": lambda figure: _losses_by_tokens(figure, points, pooled),
    "loss_parameters": lambda figure: _losses_by_size(figure, points, pooled),
    "loss_flops": lambda figure: _frontier(figure, points, pooled),
  }
  if pooled.isoflops:
    drawings["isoflops"] = lambda figure: _isoflops(figure, pooled)
  if pooled.fit is not None:
    drawings["predicted"] = lambda figure: _predicted(figure, pooled)
  if any(one_series.fit for one_series in series):
    drawings["exponents"] = lambda figure: _exponents(figure, series)
  if len(series) > 1:
    drawings["loss_domains"] = lambda figure: _domains(figure, points, series)
  if any(point.score is not None for point in points):
    drawings["scores"] = lambda figure: _scores(figure, points, pooled.size)

  return drawing.save_all(drawings, out)


def _groups(values: np.ndarray) -> Iterator[tuple[np.ndarray, str, dict[str, Any]]]:
  """Yields (mask [points], label, colour and marker) of each distinct value, ascending."""
  distinct = np.unique(values)
  for value, color, marker in zip(
    distinct, drawing.ramp(len(distinct)), drawing.markers(len(distinct)), strict=True
  ):
    yield values == value, _count(value), {"color": color, "marker": marker}


def _losses_by_tokens(
  figure: Figure, points: Sequence[ScalingPoint], series: analysis.Series
) -> None:
  """Draws the loss against tokens, one line per size, with the law through them."""
  sizes = analysis.sizes(points, series.size)
  tokens = np.array([point.tokens for point in points], float)
  fit = series.fit

  def predict(size: float, curve: np.ndarray) -> np.ndarray:
    assert fit is not None
    return fit.best(np.full_like(curve, size), curve)

  axes = _draw_losses(figure, points, series, tokens, sizes, predict)
  axes.set_xlabel("training tokens")
  _add_legend(axes, _SIZE_NAMES[series.size], bool(series.predictions))


def _losses_by_size(
  figure: Figure, points: Sequence[ScalingPoint], series: analysis.Series
) -> None:
  """Draws the loss against size, one line per number of tokens, with the law through them."""
  sizes = analysis.sizes(points, series.size)
  tokens = np.array([point.tokens for point in points], float)
  fit = series.fit

  def predict(tokens: float, curve: np.ndarray) -> np.ndarray:
    assert fit is not None
    return fit.best(curve, np.full_like(curve, tokens))

  axes = _draw_losses(figure, points, series, sizes, tokens, predict)
  axes.set_xlabel(_SIZE_NAMES[series.size])
  _add_legend(axes, "training tokens", bool(series.predictions))


def _draw_losses(
  figure: Figure,
  points: Sequence[ScalingPoint],
  series: analysis.Series,
  x: np.ndarray,
  group: np.ndarray,
  predict: Callable[[float, np.ndarray], np.ndarray],
) -> Axes:
  """Draws the loss against x [points], one line per value of `group` [points].

  Runs that were left out of the fit have hollow markers. `predict` gives the law's losses for a
  value of the group along a curve of x.
  """
  axes = _new_panel(figure)
  losses = np.array([point.loss for point in points])
  # Points contain a dict, so they cannot be members of a set.
  left_out_ids = {id(prediction.point) for prediction in series.predictions}
  left_out = np.array([id(point) in left_out_ids for point in points])

  for selected, label, style in _groups(group):
    solid = selected & ~left_out
    axes.plot(x[solid], losses[solid], linestyle="", markersize=5, label=label, **style)
    hollow = selected & left_out
    if hollow.any():
      axes.plot(x[hollow], losses[hollow], linestyle="", markersize=7, fillstyle="none", **style)
    if series.fit is not None:
      curve = np.geomspace(x.min(), x.max(), _CURVE)
      predicted = predict(group[selected][0], curve)
      axes.plot(curve, predicted, color=style["color"], linewidth=1.1)

  _use_log_scale(axes, x)
  axes.set_ylabel(_LOSS)
  if series.fit is not None:
    axes.plot([], [], color=INK, linewidth=1.1, label="the law")
  return axes


def _frontier(figure: Figure, points: Sequence[ScalingPoint], series: analysis.Series) -> None:
  """Draws the loss against training FLOPs, one line per size, and the law's best at each budget."""
  axes = _new_panel(figure)
  sizes = analysis.sizes(points, series.size)
  flops = np.array([point.flops for point in points])
  losses = np.array([point.loss for point in points])
  for selected, label, style in _groups(sizes):
    order = _sorted_indices(selected, flops)
    axes.plot(flops[order], losses[order], linewidth=1.1, markersize=5, label=label, **style)

  if series.fit is not None:
    n = series.n()
    cost = budget.cost(n, series.d(), flops=np.array([point.flops for point in series.fitted]))
    # One decade beyond the runs. An optimisation per point and draw takes time, so 40 must do.
    curve = np.geomspace(flops.min(), 10 * flops.max(), 40)

    def best_losses(draw: law.Law) -> np.ndarray:
      return np.array([budget.optimum(draw, cost, flops=c, sizes=n).loss for c in curve])

    low, high = series.fit.interval(best_losses)
    axes.fill_between(curve, low, high, color=INK, alpha=0.12, linewidth=0)
    best = best_losses(series.fit.best)
    label = f"best size, law\n({bootstrap.LEVEL:.0%} interval)"
    axes.plot(curve, best, color=INK, linewidth=1.1, linestyle=DASHED, label=label)

  _use_log_scale(axes, flops)
  axes.set_xlabel("training FLOPs")
  axes.set_ylabel(_LOSS)
  _add_legend(axes, _SIZE_NAMES[series.size])


def _isoflops(figure: Figure, series: analysis.Series) -> None:
  """Draws a parabola per budget, and its lowest point if that lies among the sizes."""
  axes = _new_panel(figure)
  count = len(series.isoflops)
  for parabola, color, marker in zip(
    series.isoflops, drawing.ramp(count), drawing.markers(count), strict=True
  ):
    label = _power(parabola.flops)
    axes.plot(parabola.n, parabola.losses, marker, color=color, markersize=5, label=label)
    curve = np.geomspace(parabola.n.min(), parabola.n.max(), _CURVE)
    fitted = np.polyval(parabola.coefficients, np.log(curve))
    axes.plot(curve, fitted, color=color, linewidth=1.1)
    minimum, loss = parabola.minimum, parabola.loss
    if minimum is not None and loss is not None:
      axes.plot(minimum, loss, "|", color=INK, markersize=14, markeredgewidth=1.6)

  _use_log_scale(axes, np.concatenate([parabola.n for parabola in series.isoflops]))
  axes.set_xlabel(_SIZE_NAMES[series.size])
  axes.set_ylabel(_LOSS)
  handles, labels = axes.get_legend_handles_labels()
  if any(parabola.minimum is not None for parabola in series.isoflops):
    handles += axes.plot([], [], "|", color=INK, markersize=9, markeredgewidth=1.6)
    labels.append("lowest point")
  axes.legend(handles, labels, title="training FLOPs", **BESIDE)


def _predicted(figure: Figure, series: analysis.Series) -> None:
  """Draws measured against predicted losses; runs that were left out have intervals."""
  assert series.fit is not None
  axes = _new_panel(figure)
  predicted = series.fit.best(series.n(), series.d())
  measured = np.array([point.loss for point in series.fitted])
  axes.plot(predicted, measured, "o", color=COLORS[0], markersize=5, label="fitted runs")

  all_losses = [*predicted, *measured]
  label: str | None = f"left out ({bootstrap.LEVEL:.0%} interval)"
  for prediction in series.predictions:
    # An interval of few draws need not contain the best fit.
    below = max(0.0, prediction.predicted - prediction.low)
    above = max(0.0, prediction.high - prediction.predicted)
    axes.errorbar(
      [prediction.predicted],
      [prediction.measured],
      xerr=[[below], [above]],
      fmt="D",
      label=label,
      color=COLORS[5],
      markersize=6,
      capsize=3,
      linewidth=1.2,
    )
    # The legend has one entry for all of them.
    label = None
    all_losses += [prediction.low, prediction.high, prediction.measured]

  # Both axes have the same range, so that the diagonal is the line of perfect predictions.
  ends = min(all_losses) * 0.98, max(all_losses) * 1.02
  axes.plot(ends, ends, color=INK, linewidth=0.9, linestyle=DASHED, label="measured = predicted")
  axes.set(xlim=ends, ylim=ends, aspect="equal")
  axes.set_xlabel("predicted loss, nats per target")
  axes.set_ylabel("measured")
  axes.legend(**BESIDE)


def _exponents(figure: Figure, series: Sequence[analysis.Series]) -> None:
  """Draws alpha and beta of every domain with their intervals."""
  fits = [
    (one_series.domain, one_series.fit) for one_series in series if one_series.fit is not None
  ]
  left, right = figure.subplots(1, 2, sharey=True)
  figure.set_size_inches(7.2, 1.3 + 0.36 * len(fits))

  for axes, name, title in (
    (left, "alpha", "alpha, of parameters"),
    (right, "beta", "beta, of tokens"),
  ):
    drawing.clean(axes)
    for y, (domain, fit) in enumerate(fits):
      low, high = fit.interval(operator.attrgetter(name))
      color = INK if domain == POOLED else COLORS[0]
      axes.plot([low, high], [y, y], color=color, linewidth=1.6, marker="|", markersize=7)
      axes.plot(getattr(fit.best, name), y, "o", color=color, markersize=5)
    axes.set_xlabel(title)
    axes.grid(False, axis="y")

  left.set_yticks(range(len(fits)), [domain for domain, _ in fits])
  # From large to small, so that the pooled law is at the top.
  left.set_ylim(len(fits) - 0.5, -0.5)
  figure.tight_layout()


def _domains(
  figure: Figure, points: Sequence[ScalingPoint], series: Sequence[analysis.Series]
) -> None:
  """Draws the loss of each domain against tokens: one panel per domain, one line per size."""
  # The pooled loss has figures of its own.
  names = [one_series.domain for one_series in series if one_series.domain != POOLED]
  columns = min(3, len(names))
  rows = -(-len(names) // columns)  # rounded up
  figure.set_size_inches(7.6, 0.5 + 2.3 * rows)
  panels = np.atleast_1d(figure.subplots(rows, columns)).reshape(-1)

  sizes = analysis.sizes(points, series[0].size)
  tokens = np.array([point.tokens for point in points], float)
  for axes, name in zip(panels, names, strict=False):
    drawing.clean(axes)
    losses = np.array([point.loss_of(name) for point in points])
    for selected, label, style in _groups(sizes):
      order = _sorted_indices(selected, tokens)
      axes.plot(tokens[order], losses[order], linewidth=1, markersize=3.5, label=label, **style)
    axes.set_title(name, fontsize=10)
    _use_log_scale(axes, tokens)
    axes.tick_params(labelsize=8)
  for axes in panels[len(names) :]:
    axes.set_visible(False)

  figure.supxlabel("training tokens", fontsize=10)
  figure.supylabel(_LOSS, fontsize=10)
  figure.tight_layout()
  handles, labels = panels[0].get_legend_handles_labels()
  figure.legend(
    handles,
    labels,
    title=_SIZE_NAMES[series[0].size],
    frameon=False,
    loc="center left",
    bbox_to_anchor=(1.0, 0.5),
  )


def _scores(figure: Figure, points: Sequence[ScalingPoint], size: str) -> None:
  """Draws the paper's Figure 8: score against tokens processed, one line per size.

  Intervals are over evaluation episodes.
  """
  axes = _new_panel(figure)
  played = [point for point in points if point.score is not None]
  tokens = np.array([point.tokens for point in played], float)
  scores = np.array([point.score for point in played], float)
  lows = np.array([point.score_low for point in played], float)
  highs = np.array([point.score_high for point in played], float)

  for selected, label, style in _groups(analysis.sizes(played, size)):
    order = _sorted_indices(selected, tokens)
    # Points of old sweeps have scores without intervals.
    known = order[~np.isnan(lows[order])]
    color = style["color"]
    axes.vlines(tokens[known], lows[known], highs[known], color=color, linewidth=0.8)
    axes.plot(tokens[order], scores[order], linewidth=1.2, markersize=5, label=label, **style)

  _use_log_scale(axes, tokens)
  axes.set_xlabel("tokens processed")
  axes.set_ylabel("score, % of the expert,\nmean over domains of the mean over tasks")
  _add_legend(axes, _SIZE_NAMES[size])


def _new_panel(figure: Figure) -> Axes:
  axes = figure.subplots()
  drawing.clean(axes)
  return axes


def _sorted_indices(selected: np.ndarray, x: np.ndarray) -> np.ndarray:
  """Returns the indices where the mask is True, ordered by x."""
  indices = np.flatnonzero(selected)
  return indices[np.argsort(x[indices], kind="stable")]


def _add_legend(axes: Axes, title: str, has_left_out: bool = False) -> None:
  handles, labels = axes.get_legend_handles_labels()
  if has_left_out:
    handles += axes.plot([], [], "o", color=INK, fillstyle="none")
    labels.append("left out of the fit")
  axes.legend(handles, labels, title=title, **BESIDE)


def _use_log_scale(axes: Axes, values: np.ndarray) -> None:
  """Makes the horizontal axis logarithmic, with numbers that suit its range."""
  axes.set_xscale("log")
  # An axis of few decades also names 2 and 5 of each.
  is_short = values.max() / values.min() < 200
  axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if is_short else (1.0,)))
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())

  # Units end at T.
  if values.max() < 1e13:
    drawing.use_units(axes)
  else:
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _power(value, 0)))


def _power(value: float, digits: int = 1) -> str:
  """Returns e.g. "1.5e15"."""
  return f"{value:.{digits}e}".replace("e+", "e")


def _count(value: float) -> str:
  """Returns a number in three digits with a unit, e.g. "1.23M"."""
  return ticker.EngFormatter(sep="", places=None)(float(f"{value:.3g}"))
