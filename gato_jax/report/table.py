"""The per-task table of a report, as text for a terminal."""

import csv
import dataclasses
import io
import math
import pathlib
from collections.abc import Sequence

import rich.console
import rich.table

from gato_jax import files
from gato_jax.report import scores as scoring

THRESHOLD = 50  # per cent of the expert
MIN_WIDTH = 100  # characters


def percent(share: float | None) -> str:
  return "" if share is None else f"{100 * share:.0f} %"


def interval(score: scoring.TaskScore) -> str:
  """ "[low, high]", or why there is none; + where only the random actor's mean is known."""
  fixed = "+" if score.random_fixed else ""
  return f"[{score.low:.0f}, {score.high:.0f}]{fixed}" if score.has_interval else "no spread"


def success(score: scoring.TaskScore) -> str:
  """The share of successful episodes and, where it has spread, its interval."""
  if score.success is None or math.isnan(score.success_low):
    return percent(score.success)
  return f"{percent(score.success)} [{100 * score.success_low:.0f}, {100 * score.success_high:.0f}]"


def held_fixed(scores: Sequence[scoring.TaskScore]) -> str:
  """What the intervals leave out, where some tasks' baselines are means."""
  if not any(s.random_fixed for s in scores):
    return ""
  return "+ random's and the expert's returns are means from scores.json, both held fixed in the interval"


def summary(scores: Sequence[scoring.TaskScore]) -> str:
  reached, tasks = scoring.bar(scores, THRESHOLD)
  return f"{reached} of {tasks} tasks at or above {THRESHOLD} % of the expert (paper: 450 of 604)"


def write_csv(scores: Sequence[scoring.TaskScore], path: pathlib.Path) -> None:
  """One line a task, TaskScore's fields without the resamples."""
  names = [field.name for field in dataclasses.fields(scoring.TaskScore) if field.name != "resampled"]
  text = io.StringIO(newline="")
  writer = csv.writer(text, lineterminator="\n")
  writer.writerow(names)
  for score in scores:
    values = [getattr(score, name) for name in names]
    writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in values])
  files.write(path, text.getvalue())


def show(scores: Sequence[scoring.TaskScore], unplayed: Sequence[str] = (), console=None) -> None:
  """Prints the table, tasks above 100 % marked with *, and the count of tasks at or above 50 % as the last line."""
  console = console or rich.console.Console()
  if console.width < MIN_WIDTH:
    console = rich.console.Console(file=console.file, width=MIN_WIDTH)  # a wrapped line is better than a cut one
  table = rich.table.Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
  table.add_column("task", no_wrap=True)
  for name in ("random", "agent", "expert", "score %", "95 %", "success", "episodes"):
    table.add_column(name, justify="right", no_wrap=True)
  for s in scores:
    table.add_row(
      s.task,
      f"{s.random_mean:.3g}",
      f"{s.agent_mean:.4g}",
      f"{s.expert_return:.4g}",
      f"{s.score:.1f}{'*' if s.score > 100 else ' '}",
      interval(s).replace("[", r"\["),  # rich reads [...] as markup
      success(s).replace("[", r"\["),
      str(s.episodes),
      style="green" if s.score >= THRESHOLD else "",
    )
  console.print(table)
  above = sum(s.score > 100 for s in scores)
  if above:
    console.print(f"* {above} above 100 % of the expert", highlight=False)
  if any(not s.has_interval for s in scores):
    console.print("no spread: every episode had the same return, so resampling gives no interval", highlight=False)
  if unplayed:
    console.print(f"not played at this checkpoint: {', '.join(unplayed)}", highlight=False)
  if held_fixed(scores):
    console.print(held_fixed(scores), highlight=False)
  known = scoring.intervals(scores, THRESHOLD)
  (mean_low, mean_high), (low, high) = known["mean_over_domains"], known["interquartile_mean"]
  console.print(
    rf"mean over domains {scoring.mean_over_domains(scores):.1f} \[{mean_low:.1f}, {mean_high:.1f}], "
    rf"interquartile mean over tasks {scoring.interquartile_mean(scores):.1f} \[{low:.1f}, {high:.1f}]",
    highlight=False,
  )
  console.print(summary(scores), highlight=False, style="bold")
