"""Figures of a sweep that are not about the law: learning rates by size, and score over loss."""

import pathlib
from collections.abc import Callable, Sequence

import numpy as np
from matplotlib import ticker
from matplotlib.figure import Figure

from experiments.analysis.report import drawing
from experiments.analysis.report.drawing import BESIDE, COLORS, INK
from experiments.analysis.scaling import bootstrap, compare
from experiments.analysis.scaling.points import ScalingPoint

_CURVE = 200  # points along a curve


def draw(
  points: Sequence[ScalingPoint],
  curve: compare.ScoreCurve | None,
  profiles: Sequence[compare.RateProfile],
  out: pathlib.Path,
) -> dict[str, pathlib.Path]:
  """Draws the figures that the points allow.

  Args:
    points: All points of the sweep.
    curve: Score over loss.
    profiles: Losses of networks over learning rates.
    out: Directory of the files.

  Returns:
    Name -> PNG in `out`; an SVG lies beside it.
  """
  drawings: dict[str, Callable[[Figure], None]] = {}
  if profiles:
    drawings["rates"] = lambda figure: _rates(figure, profiles)
  if curve is not None:
    drawings["score_loss"] = lambda figure: _score_over_loss(figure, points, curve)

  return drawing.save_all(drawings, out)


def _rates(figure: Figure, profiles: Sequence[compare.RateProfile]) -> None:
  """Draws the loss against the learning rate, one line per width, with its best rate."""
  axes = figure.subplots()
  drawing.clean(axes)
  count = len(profiles)
  for profile, color, marker in zip(
    profiles, drawing.ramp(count), drawing.markers(count), strict=True
  ):
    axes.plot(
      profile.rates,
      profile.losses,
      color=color,
      marker=marker,
      markersize=5,
      linewidth=1.1,
      label=str(profile.width),
    )
    if profile.best is not None:
      axes.axvline(profile.best, color=color, linewidth=0.9, linestyle=drawing.DASHED)

  axes.set_xscale("log", base=2)
  axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))
  axes.set_xlabel("peak learning rate, times the sweep's")
  axes.set_ylabel("validation loss, nats per target")
  axes.legend(title="width", **BESIDE)


def _score_over_loss(
  figure: Figure, points: Sequence[ScalingPoint], curve: compare.ScoreCurve
) -> None:
  """Draws the score of every played run over its loss, with the fitted curve."""
  axes = figure.subplots()
  drawing.clean(axes)
  played = [point for point in points if point.score is not None]
  losses = np.array([point.loss for point in played])
  scores = np.array([point.score for point in played], float)
  lows = np.array([point.score_low for point in played], float)
  highs = np.array([point.score_high for point in played], float)

  along = np.linspace(losses.min(), losses.max(), _CURVE)
  low, high = curve.interval(along)
  label = f"fit ({bootstrap.LEVEL:.0%} interval)"
  axes.fill_between(along, low, high, color=INK, alpha=0.12, linewidth=0)
  axes.plot(along, curve(along), color=INK, linewidth=1.1, label=label)

  axes.vlines(losses, lows, highs, color=COLORS[0], linewidth=0.8)
  axes.plot(losses, scores, "o", color=COLORS[0], markersize=5, label="runs")
  axes.invert_xaxis()
  axes.set_xlabel("validation loss, nats per target")
  axes.set_ylabel("score, % of the expert,\nmean over domains of the mean over tasks")
  axes.legend(**BESIDE)
