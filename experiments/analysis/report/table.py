"""The table of scores by task: its cells, its CSV, and the text for a terminal."""

import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Sequence

import rich.console

from experiments.analysis.report import console as terminal
from gato_jax.evaluate import scores as scoring
from gato_jax.storage import files

THRESHOLD = 50  # per cent of the expert


def percent(share: float | None) -> str:
  """Returns a share as whole per cent, "" for None."""
  return "" if share is None else f"{100 * share:.0f} %"


def interval(score: scoring.TaskScore) -> str:
  """Returns "[low, high]", or "no spread".

  A + behind the interval marks tasks of which only the random actor's mean is known.
  """
  if not score.has_interval:
    return "no spread"

  return f"[{score.low:.0f}, {score.high:.0f}]{'+' if score.random_fixed else ''}"


def success(score: scoring.TaskScore) -> str:
  """Returns the share of successful episodes with its interval, if it has spread."""
  if score.success is None or math.isnan(score.success_low):
    return percent(score.success)

  low, high = 100 * score.success_low, 100 * score.success_high
  return f"{percent(score.success)} [{low:.0f}, {high:.0f}]"


def held_fixed(scores: Sequence[scoring.TaskScore]) -> str:
  """Returns a note on intervals that leave out the baselines' noise, "" if there are none."""
  if not any(score.random_fixed for score in scores):
    return ""

  return (
    "+ random's and the expert's returns are means from scores.json, both held fixed in the"
    " interval"
  )


def summary(scores: Sequence[scoring.TaskScore]) -> str:
  """Returns the number of tasks at or above THRESHOLD as a sentence."""
  reached, tasks = scoring.bar(scores, THRESHOLD)
  return f"{reached} of {tasks} tasks at or above {THRESHOLD} % of the expert (paper: 450 of 604)"


def write_csv(scores: Sequence[scoring.TaskScore], path: pathlib.Path) -> None:
  """Writes one line per task, with all fields of TaskScore but the resamples."""
  names = [
    field.name for field in dataclasses.fields(scoring.TaskScore) if field.name != "resampled"
  ]

  text = io.StringIO(newline="")
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(names)
  for score in scores:
    # Six digits of a score are enough, and keep the lines readable.
    values = [getattr(score, name) for name in names]
    writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in values])

  files.write(path, text.getvalue())


def show(
  scores: Sequence[scoring.TaskScore],
  unplayed: Sequence[str] = (),
  console: rich.console.Console | None = None,
) -> None:
  """Prints the table, notes, and as the last line the number of tasks at or above THRESHOLD.

  Tasks above 100 % are marked with *.
  """
  headings = ("random", "agent", "expert", "score %", "95 %", "success", "episodes")
  shown = terminal.table(left=["task"], right=headings)

  for score in scores:
    cells = [
      score.task,
      f"{score.random_mean:.3g}",
      f"{score.agent_mean:.4g}",
      f"{score.expert_return:.4g}",
      f"{score.score:.1f}{'*' if score.score > 100 else ' '}",
      interval(score),
      success(score),
      str(score.episodes),
    ]
    terminal.add_row(shown, cells, style="green" if score.score >= THRESHOLD else "")

  console = terminal.fitting(console, shown)
  console.print(shown)

  above = sum(score.score > 100 for score in scores)
  if above:
    console.print(f"* {above} above 100 % of the expert", highlight=False)
  if any(not score.has_interval for score in scores):
    console.print(
      "no spread: every episode had the same return, so resampling gives no interval",
      highlight=False,
    )
  if unplayed:
    console.print(f"not played at this checkpoint: {', '.join(unplayed)}", highlight=False)
  if held_fixed(scores):
    console.print(held_fixed(scores), highlight=False)

  # In the strings below, "\[" is a bracket that rich does not read as markup.
  intervals = scoring.intervals(scores, THRESHOLD)
  mean_low, mean_high = intervals["mean_over_domains"]
  low, high = intervals["interquartile_mean"]
  console.print(
    f"mean over domains {scoring.mean_over_domains(scores):.1f}"
    rf" \[{mean_low:.1f}, {mean_high:.1f}],"
    f" interquartile mean over tasks {scoring.interquartile_mean(scores):.1f}"
    rf" \[{low:.1f}, {high:.1f}]",
    highlight=False,
  )
  console.print(summary(scores), highlight=False, style="bold")
