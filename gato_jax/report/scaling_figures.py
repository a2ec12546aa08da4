"""The figures of a sweep, each as PNG and SVG: losses with the fitted law, best sizes, predictions, scores."""

import pathlib
from collections.abc import Callable, Sequence

import matplotlib
import numpy as np
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gato_jax.report import figures
from gato_jax.scaling import analysis, bootstrap, budget
from gato_jax.scaling.points import POOLED, Point

_MARKERS = "osD^vP*X<>"
_SIZE_NAMES = {"parameters_without_embeddings": "parameters without embeddings", "parameters": "parameters"}
_CURVE = 200  # places along a curve


def draw(points: Sequence[Point], series: Sequence[analysis.Series], out: pathlib.Path) -> dict[str, pathlib.Path]:
  """All figures that the points allow: name -> PNG in `out`, with an SVG beside it."""
  pooled = series[0]
  drawings: dict[str, tuple[bool, Callable[[Figure], None]]] = {
    "loss_tokens": (True, lambda f: _losses(f, points, pooled, "tokens")),
    "loss_parameters": (True, lambda f: _losses(f, points, pooled, "size")),
    "loss_flops": (True, lambda f: _frontier(f, points, pooled)),
    "isoflops": (bool(pooled.isoflops), lambda f: _isoflops(f, pooled)),
    "predicted": (pooled.fit is not None, lambda f: _predicted(f, pooled)),
    "exponents": (any(s.fit for s in series), lambda f: _exponents(f, series)),
    "loss_domains": (len(series) > 1, lambda f: _domains(f, points, series)),
    "scores": (any(p.score is not None for p in points), lambda f: _scores(f, points, pooled.size)),
  }
  drawn = {}
  out.mkdir(parents=True, exist_ok=True)
  for name, (possible, drawing) in drawings.items():
    if possible:
      figure = Figure(figsize=(7.2, 4.4))
      drawing(figure)
      drawn[name] = out / f"{name}.png"
      with matplotlib.rc_context({"svg.hashsalt": name}):  # the same points give the same file
        for path in (drawn[name], out / f"{name}.svg"):
          date = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
          figure.savefig(path, dpi=figures.DPI, bbox_inches="tight", facecolor="white", **date)
  return drawn


def _losses(figure: Figure, points: Sequence[Point], series: analysis.Series, x: str) -> None:
  """Loss against tokens, a line a size; or against size, a line a number of tokens. The law is drawn through them."""
  axes = _axes(figure)
  sizes = analysis.sizes(points, series.size)
  tokens = np.array([p.tokens for p in points], float)
  across, group = (tokens, sizes) if x == "tokens" else (sizes, tokens)
  out = {id(p.point) for p in series.predictions}
  left_out = np.array([id(p) in out for p in points])
  losses = np.array([p.loss for p in points])
  values = np.unique(group)
  for color, marker, value in zip(_ramp(len(values)), _markers(len(values)), values, strict=True):
    mine = group == value
    axes.plot(
      across[mine & ~left_out], losses[mine & ~left_out], marker, color=color, markersize=5, label=_count(value)
    )
    if left_out[mine].any():
      axes.plot(across[mine & left_out], losses[mine & left_out], marker, color=color, markersize=7, fillstyle="none")
    if series.fit is not None:
      curve = np.geomspace(across.min(), across.max(), _CURVE)
      fixed = np.full_like(curve, value)
      law = series.fit.best
      axes.plot(curve, law(fixed, curve) if x == "tokens" else law(curve, fixed), color=color, linewidth=1.1)
  _log(axes, across)
  axes.set_xlabel("training tokens" if x == "tokens" else _SIZE_NAMES[series.size])
  axes.set_ylabel("held-out loss, nats a target")
  title = _SIZE_NAMES[series.size] if x == "tokens" else "training tokens"
  if series.fit is not None:
    axes.plot([], [], color=figures.INK, linewidth=1.1, label="the law")
  _legend(axes, title, left_out.any())


def _frontier(figure: Figure, points: Sequence[Point], series: analysis.Series) -> None:
  """Loss against training FLOPs, a line a size, under the best that the law expects for each budget."""
  axes = _axes(figure)
  sizes = analysis.sizes(points, series.size)
  flops, losses = np.array([p.flops for p in points]), np.array([p.loss for p in points])
  values = np.unique(sizes)
  for color, marker, value in zip(_ramp(len(values)), _markers(len(values)), values, strict=True):
    mine = np.flatnonzero(sizes == value)
    mine = mine[np.argsort(flops[mine])]
    axes.plot(flops[mine], losses[mine], marker + "-", color=color, markersize=5, linewidth=1.1, label=_count(value))
  if series.fit is not None:
    n, d = series.n(), np.array([p.tokens for p in series.fitted], float)
    cost = budget.cost(n, d, np.array([p.flops for p in series.fitted]))
    curve = np.geomspace(flops.min(), 10 * flops.max(), 40)

    def best(law: analysis.law.Law) -> np.ndarray:
      return np.array([budget.optimum(law, cost, c, n).loss for c in curve])

    low, high = series.fit.interval(best)
    axes.fill_between(curve, low, high, color=figures.INK, alpha=0.12, linewidth=0)
    line = (0, (4, 3))
    label = f"best size, law\n({bootstrap.LEVEL:.0%} interval)"
    axes.plot(curve, best(series.fit.best), color=figures.INK, linewidth=1.1, linestyle=line, label=label)
  _log(axes, flops)
  axes.set_xlabel("training FLOPs")
  axes.set_ylabel("held-out loss, nats a target")
  _legend(axes, _SIZE_NAMES[series.size], False)


def _isoflops(figure: Figure, series: analysis.Series) -> None:
  """A parabola a budget, with its lowest point where that lies among the sizes."""
  axes = _axes(figure)
  found = series.isoflops
  for color, marker, one in zip(_ramp(len(found)), _markers(len(found)), found, strict=True):
    axes.plot(one.n, one.losses, marker, color=color, markersize=5, label=_power(one.flops))
    curve = np.geomspace(one.n.min(), one.n.max(), _CURVE)
    axes.plot(curve, np.polyval(one.coefficients, np.log(curve)), color=color, linewidth=1.1)
    if one.minimum is not None:
      axes.plot(one.minimum, one.loss, "|", color=figures.INK, markersize=14, markeredgewidth=1.6)
  _log(axes, np.concatenate([one.n for one in found]))
  axes.set_xlabel(_SIZE_NAMES[series.size])
  axes.set_ylabel("held-out loss, nats a target")
  handles, labels = axes.get_legend_handles_labels()
  if any(one.minimum is not None for one in found):
    handles.append(axes.plot([], [], "|", color=figures.INK, markersize=9, markeredgewidth=1.6)[0])
    labels.append("lowest point")
  axes.legend(handles, labels, title="training FLOPs", **_BESIDE)


def _predicted(figure: Figure, series: analysis.Series) -> None:
  """Measured against predicted losses; the runs left out with their intervals."""
  axes = _axes(figure)
  law = series.fit.best
  tokens = np.array([p.tokens for p in series.fitted], float)
  predicted, measured = law(series.n(), tokens), np.array([p.loss for p in series.fitted])
  axes.plot(predicted, measured, "o", color=figures.COLORS[0], markersize=5, label="fitted runs")
  for i, one in enumerate(series.predictions):
    label = f"left out ({bootstrap.LEVEL:.0%} interval)" if i == 0 else None
    spread = [[one.predicted - one.low], [one.high - one.predicted]]
    style = {"color": figures.COLORS[5], "markersize": 6, "capsize": 3, "linewidth": 1.2}
    axes.errorbar([one.predicted], [one.measured], xerr=spread, fmt="D", label=label, **style)
  every = np.concatenate([predicted, measured, [v for p in series.predictions for v in (p.low, p.high, p.measured)]])
  ends = every.min() * 0.98, every.max() * 1.02
  axes.plot(ends, ends, color=figures.INK, linewidth=0.9, linestyle=(0, (4, 3)), label="measured = predicted")
  axes.set(xlim=ends, ylim=ends, aspect="equal")
  axes.set_xlabel("predicted loss, nats a target")
  axes.set_ylabel("measured")
  axes.legend(**_BESIDE)


def _exponents(figure: Figure, series: Sequence[analysis.Series]) -> None:
  """alpha and beta of every domain with their intervals."""
  known = [s for s in series if s.fit is not None]
  left, right = figure.subplots(1, 2, sharey=True)
  figure.set_size_inches(7.2, 1.3 + 0.36 * len(known))
  for axes, name, title in ((left, "alpha", "alpha, of parameters"), (right, "beta", "beta, of tokens")):
    _plain(axes)
    for y, one in enumerate(known):
      low, high = one.fit.interval(lambda law, name=name: np.array(getattr(law, name)))
      color = figures.INK if one.domain == POOLED else figures.COLORS[0]
      axes.plot([low, high], [y, y], color=color, linewidth=1.6, marker="|", markersize=7)
      axes.plot(getattr(one.fit.best, name), y, "o", color=color, markersize=5)
    axes.set_xlabel(title)
    axes.grid(False, axis="y")
  left.set_yticks(range(len(known)), [s.domain for s in known])
  left.set_ylim(len(known) - 0.5, -0.5)
  figure.tight_layout()


def _domains(figure: Figure, points: Sequence[Point], series: Sequence[analysis.Series]) -> None:
  """Loss of each domain against tokens, a panel a domain, a line a size."""
  names = [s.domain for s in series if s.domain != POOLED]
  columns = min(3, len(names))
  rows = -(-len(names) // columns)
  figure.set_size_inches(7.6, 0.5 + 2.3 * rows)
  panels = np.atleast_1d(figure.subplots(rows, columns)).reshape(-1)
  sizes = analysis.sizes(points, series[0].size)
  tokens = np.array([p.tokens for p in points], float)
  values = np.unique(sizes)
  for axes, name in zip(panels, names, strict=False):
    _plain(axes)
    losses = np.array([p.loss_of(name) for p in points])
    for color, marker, value in zip(_ramp(len(values)), _markers(len(values)), values, strict=True):
      mine = np.flatnonzero(sizes == value)
      mine = mine[np.argsort(tokens[mine])]
      axes.plot(tokens[mine], losses[mine], marker + "-", color=color, markersize=3.5, linewidth=1, label=_count(value))
    axes.set_title(name, fontsize=10)
    _log(axes, tokens)
    axes.tick_params(labelsize=8)
  for axes in panels[len(names) :]:
    axes.set_visible(False)
  figure.supxlabel("training tokens", fontsize=10)
  figure.supylabel("held-out loss, nats a target", fontsize=10)
  figure.tight_layout()
  handles, labels = panels[0].get_legend_handles_labels()
  title = _SIZE_NAMES[series[0].size]
  figure.legend(handles, labels, title=title, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))


def _scores(figure: Figure, points: Sequence[Point], size: str) -> None:
  """The paper's Figure 8: score against tokens processed, a line a size, with intervals over evaluation episodes."""
  axes = _axes(figure)
  played = [p for p in points if p.score is not None]
  sizes = analysis.sizes(played, size)
  values = np.unique(sizes)
  for color, marker, value in zip(_ramp(len(values)), _markers(len(values)), values, strict=True):
    mine = sorted((p for p, s in zip(played, sizes, strict=True) if s == value), key=lambda p: p.tokens)
    tokens, scores = [p.tokens for p in mine], [p.score for p in mine]
    known = [p for p in mine if p.score_low is not None]
    axes.vlines(
      [p.tokens for p in known], [p.score_low for p in known], [p.score_high for p in known], color=color, linewidth=0.8
    )
    axes.plot(tokens, scores, marker + "-", color=color, markersize=5, linewidth=1.2, label=_count(value))
  _log(axes, np.array([p.tokens for p in played], float))
  axes.set_xlabel("tokens processed")
  axes.set_ylabel("score, % of the expert,\nmean over domains of the mean over tasks")
  _legend(axes, _SIZE_NAMES[size], False)


_BESIDE = {"frameon": False, "loc": "center left", "bbox_to_anchor": (1.01, 0.5), "alignment": "left"}


def _axes(figure: Figure) -> Axes:
  axes = figure.subplots()
  _plain(axes)
  return axes


def _plain(axes: Axes) -> None:
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(True, color="#dddddd", linewidth=0.6)
  axes.set_axisbelow(True)


def _legend(axes: Axes, title: str, left_out: bool) -> None:
  handles, labels = axes.get_legend_handles_labels()
  if left_out:
    handles.append(axes.plot([], [], "o", color=figures.INK, fillstyle="none")[0])
    labels.append("left out of the fit")
  axes.legend(handles, labels, title=title, **_BESIDE)


def _ramp(count: int) -> list:
  """Dark to light, told apart by colour-blind readers and in print; the lightest still shows on white."""
  return list(matplotlib.colormaps["viridis"](np.linspace(0.0, 0.85, count)))


def _markers(count: int) -> list[str]:
  return [_MARKERS[i % len(_MARKERS)] for i in range(count)]


def _log(axes: Axes, values: np.ndarray) -> None:
  """A logarithmic axis that names 1, 2 and 5 of each decade, where it spans few."""
  axes.set_xscale("log")
  few = values.max() / values.min() < 200
  axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
  axes.xaxis.set_minor_formatter(ticker.NullFormatter())
  if values.max() < 1e13:
    axes.xaxis.set_major_formatter(ticker.EngFormatter(sep=""))
  else:
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: _power(value, 0)))


def _power(value: float, digits: int = 1) -> str:
  return f"{value:.{digits}e}".replace("e+", "e")


def _count(value: float) -> str:
  return ticker.EngFormatter(sep="", places=None)(float(f"{value:.3g}"))
