"""Fine-tuning curves, as the paper's Figures 9 and 10: score against the number of episodes.

There is a line for each starting point. Runs have the labels arm, task, episodes and repeat, and
are played at several steps. A run counts with the best moving average over its evaluations (Reed
et al. 2022, appendix E). A maximum is biased upwards by the noise of the evaluations, so the last
step's score, with an interval over its episodes, stands beside it.
"""

import itertools
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis import run_metrics
from experiments.analysis.report import drawing
from experiments.analysis.report.study_page import Played, Section, Study
from gato_jax.evaluate import scores as scoring

WINDOW = 5  # evaluations of the moving average, as in the paper
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_Row = dict[str, Any]


def section(study: Study, out: pathlib.Path) -> Section:
  """Returns the curves over episodes and over steps of all runs with a label "task"."""
  runs = [run for run in study.with_scores() if "task" in run.labels]
  rows = [row for run in runs if (row := _run_row(run)) is not None]
  curves = _curve_rows(rows)

  episodes_png, steps_png = out / "fine_tuning.png", out / "steps.png"
  _draw_episodes(curves, episodes_png)
  _draw_steps(runs, steps_png)

  text = [
    f"A point is the best moving average over {WINDOW} evaluations of a run (fewer if it had"
    " fewer), and the mean over repeats if there are several. 0 is random play, 100 the expert.",
    *_sentences(curves),
  ]
  figures = [
    (
      episodes_png,
      "Score against the number of episodes fine-tuned on. Bars: from the lowest to the highest"
      " repeat.",
    ),
    (
      steps_png,
      "Score against steps of fine-tuning, for the largest number of episodes of each task.",
    ),
  ]
  return Section(
    "Fine-tuning by number of episodes",
    text,
    figures=figures,
    tables={"curves": curves, "runs": rows},
  )


def best_moving_average(by_step: Mapping[int, float], window: int = WINDOW) -> float:
  """Returns the highest mean of `window` evaluations in a row, or of all if there are fewer."""
  values = [by_step[step] for step in sorted(by_step)]
  width = min(window, len(values))
  starts = range(len(values) - width + 1)
  return max(float(np.mean(values[start : start + width])) for start in starts)


def _run_row(run: Played) -> _Row | None:
  """Returns one run's numbers, None if its own task has no score."""
  task = run.labels["task"]
  last = next((score for score in run.scores if score.task == task), None)
  if last is None:
    return None

  # Scores of earlier steps have no intervals, the last step's has one.
  by_step = scoring.scores_by_step(run.rows, run.baselines)[task]
  _, losses = run_metrics.column(run.metrics, "loss")
  return {
    "task": task,
    "arm": run.labels["arm"],
    "episodes": run.labels["episodes"],
    "repeat": run.labels["repeat"],
    "best": best_moving_average(by_step),
    "last": last.score,
    "low": last.low,
    "high": last.high,
    "evaluations": len(by_step),
    "episodes_played": last.episodes,
    "first_loss": float(losses[0]) if len(losses) else math.nan,
    "last_loss": float(losses[-1]) if len(losses) else math.nan,
  }


def _distinct(rows: Sequence[Mapping[str, Any]], label: str) -> list[Any]:
  """Returns the distinct values of a label, in the order of the rows."""
  return list(dict.fromkeys(row[label] for row in rows))


def _curve_rows(rows: Sequence[_Row]) -> list[_Row]:
  """Returns the mean over repeats for every task, arm and number of episodes.

  Tasks and arms are in the order of the runs.
  """
  tasks, arms = _distinct(rows, "task"), _distinct(rows, "arm")
  ordered = sorted(
    rows,
    key=lambda row: (tasks.index(row["task"]), arms.index(row["arm"]), row["episodes"]),
  )

  # groupby needs the rows of a group side by side.
  curves = []
  for (task, arm, episodes), group in itertools.groupby(
    ordered, lambda row: (row["task"], row["arm"], row["episodes"])
  ):
    repeats = list(group)
    best = [row["best"] for row in repeats]
    curves.append(
      {
        "task": task,
        "arm": arm,
        "episodes": episodes,
        "repeats": len(repeats),
        "best": float(np.mean(best)),
        "lowest": min(best),
        "highest": max(best),
        "last": float(np.mean([row["last"] for row in repeats])),
      }
    )
  return curves


def _sentences(curves: Sequence[_Row]) -> list[str]:
  """Returns the ranking of the arms with the most episodes, for each task."""
  sentences = []
  for task in _distinct(curves, "task"):
    of_task = [row for row in curves if row["task"] == task]
    most = max(row["episodes"] for row in of_task)
    with_most = [row for row in of_task if row["episodes"] == most]

    # The best arm first.
    with_most.sort(key=lambda row: -row["best"])
    ranking = ", ".join(f"{row['arm']} {row['best']:.1f}" for row in with_most)
    sentences.append(f"{task}, {most} episodes: {ranking}.")

  return sentences


def _arm_style(index: int, arm: str) -> dict[str, Any]:
  return {
    "color": drawing.COLORS[index % len(drawing.COLORS)],
    "marker": _MARKERS[index % len(_MARKERS)],
    "markersize": 5,
    "linewidth": 1.6,
    "label": arm,
  }


def _new_panels(count: int) -> tuple[Figure, list[Axes]]:
  """Returns a figure with `count` panels of scores, two in a row."""
  columns = min(count, 2)
  lines = math.ceil(count / columns)
  figure = Figure(figsize=(4.4 * columns + 1.4, 3.3 * lines), layout="constrained")
  panels = figure.subplots(lines, columns, squeeze=False).ravel()
  for axes in panels[count:]:
    axes.set_visible(False)

  for axes in panels[:count]:
    drawing.clean(axes)
    axes.grid(False, axis="x")
    # Random play and the expert.
    for level in (0, 100):
      axes.axhline(level, color=drawing.INK, linewidth=0.8, linestyle=drawing.DASHED)
    axes.set_ylabel("score, % of the expert")

  return figure, list(panels[:count])


def _finish(figure: Figure, panels: Sequence[Axes], path: pathlib.Path) -> None:
  """Adds one legend for all panels, with each arm once, and writes the file."""
  by_label = {}
  for axes in panels:
    for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
      by_label[label] = handle

  figure.legend(by_label.values(), by_label.keys(), loc="outside right upper", frameon=False)
  drawing.save(figure, path)


def _draw_episodes(curves: Sequence[_Row], path: pathlib.Path) -> None:
  tasks, arms = _distinct(curves, "task"), _distinct(curves, "arm")
  figure, panels = _new_panels(len(tasks))
  for axes, task in zip(panels, tasks, strict=True):
    of_task = [row for row in curves if row["task"] == task]
    numbers = sorted({row["episodes"] for row in of_task})
    for arm_index, arm in enumerate(arms):
      line = [row for row in of_task if row["arm"] == arm]
      if not line:
        continue

      # Arms are drawn side by side, so that no marker hides another.
      shift = 0.06 * (arm_index - (len(arms) - 1) / 2)
      x = [numbers.index(row["episodes"]) + shift for row in line]
      best = [row["best"] for row in line]
      below = [row["best"] - row["lowest"] for row in line]
      above = [row["highest"] - row["best"] for row in line]
      spread = (below, above) if any(below) or any(above) else None
      axes.errorbar(x, best, spread, capsize=2, **_arm_style(arm_index, arm))

    axes.set(title=task, xlabel="episodes")
    # 0 is the label of all episodes.
    axes.set_xticks(range(len(numbers)), [str(number) if number else "all" for number in numbers])
    axes.set_xlim(-0.5, len(numbers) - 0.5)

  _finish(figure, panels, path)


def _draw_steps(runs: Sequence[Played], path: pathlib.Path) -> None:
  labels = [run.labels for run in runs]
  tasks, arms = _distinct(labels, "task"), _distinct(labels, "arm")
  figure, panels = _new_panels(len(tasks))
  for axes, task in zip(panels, tasks, strict=True):
    of_task = [run for run in runs if run.labels["task"] == task]
    most = max(run.labels["episodes"] for run in of_task)
    in_legend = set()
    for run in of_task:
      by_step = scoring.scores_by_step(run.rows, run.baselines).get(task, {})
      if run.labels["episodes"] != most or not by_step:
        continue

      arm = run.labels["arm"]
      style = _arm_style(arms.index(arm), arm)
      # Repeats of an arm share its entry in the legend.
      if arm in in_legend:
        style["label"] = None
      in_legend.add(arm)
      axes.plot(list(by_step), list(by_step.values()), **style)

    number = f"{most} episodes" if most else "all episodes"
    axes.set(title=f"{task}, {number}", xlabel="steps")

  _finish(figure, panels, path)
