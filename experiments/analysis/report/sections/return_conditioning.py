"""Return conditioning: returns achieved against returns asked for, beside unconditioned runs."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.analysis.report import drawing, study_page
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import scores as scoring

_TARGET = "act.return_target"


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Returns one row for each run and task.

  Raises:
    GatoError: If no run was asked for a return.
  """
  lines = [_line(played, score) for played in study.with_scores() for score in played.scores]
  if all(line["asked"] == "" for line in lines):
    raise GatoError(
      f"no run of {study.name} that was asked for a return (its changes set {_TARGET}) has been"
      " played"
    )

  png = out / "return_conditioning.png"
  _draw(lines, png)
  caption = (
    "Return asked for and mean return achieved, in units of the expert's return (dashed: equal),"
    " with 95 % intervals. Horizontal lines: the runs that are not asked. Dotted: the random"
    " actor's mean return."
  )

  # Each arm's mean over its tasks, and over its targets if it has several.
  arms = []
  for arm in dict.fromkeys(line["arm"] for line in lines):
    scores = [line["score"] for line in lines if line["arm"] == arm]
    arms.append({"arm": arm, "tasks": len(scores), "mean_score": float(np.mean(scores))})

  return study_page.Section(
    "Return conditioning",
    _text(arms, lines),
    figures=[(png, caption)],
    tables={"arms": arms, "returns": lines},
  )


def _line(played: study_page.Played, score: scoring.TaskScore) -> dict[str, Any]:
  """Returns a row of the table. "asked" is "" for a run without a target."""
  step = scoring.newest_step(played.rows)
  episodes = [
    row
    for row in scoring.unique(played.rows)
    if (row.task, row.actor, row.step) == (score.task, results.POLICY, step)
  ]
  returns = np.array([row.episode_return for row in episodes])
  resampled = scoring.resampled_means(returns, [row.seed for row in episodes])
  low, high = scoring.percentiles(resampled)

  def in_expert_units(value: float) -> float:
    """Returns a return as act.return_target counts it: 1 is the expert's, also if negative."""
    return float(1 + (value - score.expert_return) / abs(score.expert_return))

  return {
    "arm": played.labels.get("arm", played.run.name),
    "task": score.task,
    "asked": played.run.changes.get(_TARGET, ""),
    "got": in_expert_units(float(returns.mean())),
    "low": in_expert_units(float(low)),
    "high": in_expert_units(float(high)),
    "random": in_expert_units(score.random_mean),
    "score": score.score,
    "episodes": len(returns),
  }


def _text(arms: Sequence[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]) -> list[str]:
  means = ", ".join(f"{row['arm']} {row['mean_score']:.1f}" for row in arms)
  text = [f"Mean score over tasks: {means}."]
  for task in dict.fromkeys(line["task"] for line in lines):
    pairs = sorted(
      (line["asked"], line["got"]) for line in lines if line["task"] == task and line["asked"] != ""
    )
    values = ", ".join(f"{asked:g}: {got:.2f}" for asked, got in pairs)

    # Both are in units of the expert's return, so their difference has a meaning.
    gap = np.mean([abs(got - asked) for asked, got in pairs])
    text.append(
      f"{task}, returns asked for and achieved: {values}; they differ by {gap:.2f} on average."
    )

  return text


def _draw(lines: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  """Draws a panel per task."""
  tasks = list(dict.fromkeys(line["task"] for line in lines))
  figure = Figure(figsize=(3.1 * len(tasks), 3.2))
  panels = figure.subplots(1, len(tasks), squeeze=False)[0]
  for axes, task in zip(panels, tasks, strict=True):
    _draw_task(axes, [line for line in lines if line["task"] == task])
    axes.set_title(task.split(".", 1)[1], fontsize=9)
    axes.set_xlabel("return asked for")

  panels[0].set_ylabel("return achieved")
  panels[0].legend(frameon=False, fontsize=7, loc="upper left")
  figure.tight_layout()
  drawing.save(figure, path, dpi=100)


def _draw_task(axes: Axes, lines: Sequence[Mapping[str, Any]]) -> None:
  drawing.clean(axes)
  asked = sorted((line for line in lines if line["asked"] != ""), key=lambda line: line["asked"])
  x = [line["asked"] for line in asked]
  below = [line["got"] - line["low"] for line in asked]
  above = [line["high"] - line["got"] for line in asked]
  axes.errorbar(
    x,
    [line["got"] for line in asked],
    (below, above),
    fmt="o-",
    color=drawing.COLORS[0],
    linewidth=1.3,
    markersize=4,
    capsize=2,
    label="asked",
  )

  # The diagonal, on which returns asked for and achieved are equal.
  largest = max(x)
  axes.plot([0, largest], [0, largest], color=drawing.INK, linewidth=0.8, linestyle=drawing.DASHED)

  not_asked = [line for line in lines if line["asked"] == ""]
  for line, color in zip(not_asked, drawing.COLORS[1:], strict=False):
    axes.axhline(line["got"], color=color, linewidth=1.3, label=line["arm"])
  axes.axhline(lines[0]["random"], color=drawing.INK, linewidth=0.8, linestyle=":")
  # 1 is the expert's return. The legend needs the room above.
  axes.set_ylim(top=1.25)
