"""Figures that compare several runs or the arms of a study, as PNGs."""

import math
import pathlib
from collections.abc import Mapping, Sequence

from experiments.analysis import run_metrics
from experiments.analysis.report import drawing
from experiments.analysis.report.drawing import CLIP, INK

# (score, low, high); low and high are NaN without an interval.
ScoreInterval = tuple[float, float, float]

_MANY_BARS = 70


def losses_of_runs(runs: Mapping[str, run_metrics.Metrics], path: pathlib.Path) -> bool:
  """Draws the training loss against tokens, one line per run.

  Returns:
    False, without writing a file, if no run logged two steps.
  """
  columns = {
    label: run_metrics.column(metrics, "loss", "tokens") for label, metrics in runs.items()
  }
  if all(len(at) < 2 for at, _ in columns.values()):
    return False

  figure, axes = drawing.new_axes()
  for (label, (at, loss)), style in zip(
    columns.items(), drawing.palette(len(columns)), strict=True
  ):
    if len(at):
      axes.plot(
        at,
        loss,
        color=style.color,
        linestyle=style.line,
        linewidth=1.3,
        label=f"{label}  {loss[-1]:.2f}",
      )

  # The first steps, where losses fall most, would be invisible on a linear axis.
  axes.set_xscale("log")
  drawing.use_units(axes)
  axes.set(xlabel="tokens processed", ylabel="loss, nats per target token")
  axes.legend(title="last value", **drawing.BESIDE)
  drawing.save(figure, path)
  return True


def scores_of_runs(runs: Mapping[str, Mapping[str, float]], path: pathlib.Path) -> bool:
  """Draws the mean score of each domain, one bar per run.

  Returns:
    False, without writing a file, if no run was played.
  """
  if not runs:
    return False

  domains = sorted({domain for means in runs.values() for domain in means})
  # A domain takes a place for each run and an empty one.
  span = len(runs) + 1
  figure, axes = drawing.new_axes(7.2, 1.1 + 0.2 * len(domains) * span)
  for turn, ((label, means), style) in enumerate(
    zip(runs.items(), drawing.palette(len(runs)), strict=True)
  ):
    places = [index * span + turn for index, domain in enumerate(domains) if domain in means]
    values = [means[domain] for domain in domains if domain in means]
    drawing.bars(axes, places, values, style, height=0.85, label=label)

  centres = [index * span + (len(runs) - 1) / 2 for index in range(len(domains))]
  drawing.label_rows(axes, centres, domains)
  axes.invert_yaxis()
  drawing.reference(axes, 100)
  drawing.reference(axes, 0, dashed=False)
  axes.set_xlabel("mean score over tasks, % of the expert")
  axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
  drawing.save(figure, path)
  return True


def arm_bars(
  arms: Mapping[str, Mapping[str, ScoreInterval]], rows: Sequence[str], path: pathlib.Path
) -> None:
  """Draws a group of bars for each row, with a bar for each arm.

  The place of a row that an arm lacks stays empty. If there are many bars, they are thinner and
  have no numbers.

  Args:
    arms: Arm -> row -> score with its interval.
    rows: The rows, from top to bottom.
    path: Of the PNG.
  """
  is_crowded = len(rows) * len(arms) > _MANY_BARS
  inches_per_bar = 0.1 if is_crowded else 0.17
  # A row takes a place for each arm and a gap.
  span = len(arms) + 0.8
  figure, axes = drawing.new_axes(7.2, 1.2 + inches_per_bar * len(rows) * span)

  all_values: list[float] = []
  for turn, ((arm, scores), style) in enumerate(
    zip(arms.items(), drawing.palette(len(arms)), strict=True)
  ):
    places = [index * span + turn for index, row in enumerate(rows) if row in scores]
    known = [scores[row] for row in rows if row in scores]
    lengths = [value for value, _, _ in known]
    drawing.bars(axes, places, lengths, style, height=0.9, linewidth=0.3, label=arm)

    for y, (value, low, high) in zip(places, known, strict=True):
      ends = [number for number in (value, low, high) if not math.isnan(number)]
      all_values += ends
      if not math.isnan(low):
        width = 0.7 if is_crowded else 0.9
        axes.plot([low, high], [y, y], color=INK, linewidth=width, solid_capstyle="butt")

      # A bar that is cut always needs its number.
      if not is_crowded or value > CLIP[1]:
        end = min(max(0.0, *ends), CLIP[1])
        drawing.write_number(axes, f"{value:.0f}", end, y, offset=4, size=6.5)

  axes.set_xlim(*drawing.clipped_limits(all_values, least_high=100.0))
  centres = [index * span + (len(arms) - 1) / 2 for index in range(len(rows))]
  drawing.label_rows(axes, centres, rows, fontsize=8)
  axes.set_ylim(len(rows) * span - 0.9, -0.9)
  for x in (0, 100):
    drawing.reference(axes, x, dashed=x != 0)

  axes.set_xlabel("score, % of the expert (0 = random), with 95 % interval")
  axes.legend(
    frameon=False,
    fontsize=8,
    ncols=min(len(arms), 3),
    loc="lower left",
    bbox_to_anchor=(0, 1),
    borderaxespad=0.2,
  )
  drawing.save(figure, path)
