"""Fine-tuning curves, the paper's Figures 9 and 10: score against the number of episodes, a line for each beginning.

Runs are labelled arm, task, episodes and repeat, and played at several steps; a run counts with the best moving average
over its evaluations (Reed et al. 2022, appendix E). A maximum is too high by its noise: the last step's score, with an
interval over its episodes, stands beside it.
"""

import itertools
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gato_jax.report import figures
from gato_jax.report import metrics as training
from gato_jax.report import scores as scoring
from gato_jax.report.study_page import Played, Section, Study

WINDOW = 5  # evaluations of the moving average, the paper's
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")


def section(study: Study, out: pathlib.Path) -> Section:
  rows = [row for run in study.with_scores() if "task" in run.labels if (row := _row(run)) is not None]
  curves = _curves(rows)
  path = out / "fine_tuning.png"
  _draw(curves, path)
  steps = out / "steps.png"
  _draw_steps([run for run in study.runs if run.scores and "task" in run.labels], steps)
  text = [
    f"A point is the best moving average over {WINDOW} evaluations of a run (fewer where it had fewer), the mean over "
    "repeats where there are several. 0 is random play, 100 the expert.",
    *_sentences(curves),
  ]
  return Section(
    "Fine-tuning by number of episodes",
    text,
    [
      (path, "Score against the number of episodes fine-tuned on. Bars: from the lowest to the highest repeat."),
      (steps, "Score against steps of fine-tuning, as played; the most episodes of each task."),
    ],
    {"curves": curves, "runs": rows},
  )


def best_moving_average(by_step: dict[int, float], window: int = WINDOW) -> float:
  """The highest mean of `window` evaluations in a row, or of all where there are fewer."""
  values = [by_step[step] for step in sorted(by_step)]
  width = min(window, len(values))
  return max(float(np.mean(values[i : i + width])) for i in range(len(values) - width + 1))


def _row(run: Played) -> dict[str, Any] | None:
  """One run's numbers; None where its own task has no score."""
  task = run.labels["task"]
  last = next((score for score in run.scores if score.task == task), None)
  if last is None:
    return None
  by_step = scoring.scores_by_step(run.rows, run.baselines)[task]
  losses = training.column(run.metrics, "loss")[1]
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


def _curves(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """Over repeats: a row for every task, arm and number of episodes, in the order of the runs."""
  tasks, arms = ([*dict.fromkeys(row[name] for row in rows)] for name in ("task", "arm"))
  ordered = sorted(rows, key=lambda r: (tasks.index(r["task"]), arms.index(r["arm"]), r["episodes"]))
  found = []
  for (task, arm, episodes), group in itertools.groupby(ordered, lambda r: (r["task"], r["arm"], r["episodes"])):
    repeats = list(group)
    best = [row["best"] for row in repeats]
    found.append(
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
  return found


def _sentences(curves: Sequence[dict[str, Any]]) -> list[str]:
  """For each task: who is ahead with the most episodes."""
  found = []
  for task in dict.fromkeys(row["task"] for row in curves):
    of_task = [row for row in curves if row["task"] == task]
    most = max(row["episodes"] for row in of_task)
    ends = sorted((row for row in of_task if row["episodes"] == most), key=lambda row: -row["best"])
    listed = ", ".join(f"{row['arm']} {row['best']:.1f}" for row in ends)
    found.append(f"{task}, {most} episodes: {listed}.")
  return found


def _style(arms: Sequence[str], arm: str) -> dict[str, Any]:
  place = arms.index(arm)
  return {
    "color": figures.COLORS[place % len(figures.COLORS)],
    "marker": _MARKERS[place % len(_MARKERS)],
    "markersize": 5,
    "linewidth": 1.6,
    "label": arm,
  }


def _panels(count: int) -> tuple[Figure, list[Axes]]:
  columns = min(count, 2)
  lines = math.ceil(count / columns)
  figure = Figure(figsize=(4.4 * columns + 1.4, 3.3 * lines), dpi=figures.DPI, layout="constrained")
  axes = figure.subplots(lines, columns, squeeze=False).ravel()
  for unused in axes[count:]:
    unused.set_visible(False)
  for one in axes[:count]:
    one.spines[["top", "right"]].set_visible(False)
    one.grid(axis="y", color="#e4e4e4", linewidth=0.7)
    for level in (0, 100):
      one.axhline(level, color=figures.INK, linewidth=0.8, linestyle=(0, (4, 3)))
    one.set_ylabel("score, % of the expert")
  return figure, list(axes[:count])


def _finish(figure: Figure, axes: Sequence[Axes], path: pathlib.Path) -> None:
  labelled = {label: handle for one in axes for handle, label in zip(*one.get_legend_handles_labels(), strict=True)}
  figure.legend(labelled.values(), labelled.keys(), loc="outside right upper", frameon=False)
  figure.savefig(path)


def _draw(curves: Sequence[dict[str, Any]], path: pathlib.Path) -> None:
  tasks, arms = ([*dict.fromkeys(row[name] for row in curves)] for name in ("task", "arm"))
  figure, axes = _panels(len(tasks))
  for one, task in zip(axes, tasks, strict=True):
    numbers = sorted({row["episodes"] for row in curves if row["task"] == task})
    for arm in arms:
      line = [row for row in curves if (row["task"], row["arm"]) == (task, arm)]
      # Side by side within a number of episodes, so that no marker hides another.
      x = [numbers.index(row["episodes"]) + 0.06 * (arms.index(arm) - (len(arms) - 1) / 2) for row in line]
      best = np.array([row["best"] for row in line])
      spread = np.array([[row["best"] - row["lowest"], row["highest"] - row["best"]] for row in line]).T
      if line:
        one.errorbar(x, best, spread if spread.any() else None, capsize=2, **_style(arms, arm))
    one.set(title=task, xlabel="episodes")
    one.set_xticks(range(len(numbers)), [f"{n}" if n else "all" for n in numbers])
    one.set_xlim(-0.5, len(numbers) - 0.5)
  _finish(figure, axes, path)


def _draw_steps(runs: Sequence[Played], path: pathlib.Path) -> None:
  tasks, arms = ([*dict.fromkeys(run.labels[name] for run in runs)] for name in ("task", "arm"))
  figure, axes = _panels(len(tasks))
  for one, task in zip(axes, tasks, strict=True):
    of_task = [run for run in runs if run.labels["task"] == task]
    most = max(run.labels["episodes"] for run in of_task)
    drawn = set()
    for run in of_task:
      by_step = scoring.scores_by_step(run.rows, run.baselines).get(task, {})
      if run.labels["episodes"] == most and by_step:
        arm = run.labels["arm"]
        style = _style(arms, arm) | ({"label": None} if arm in drawn else {})
        drawn.add(arm)
        one.plot(list(by_step), list(by_step.values()), **style)
    one.set(title=f"{task}, {most} episodes" if most else f"{task}, all episodes", xlabel="steps")
  _finish(figure, axes, path)
