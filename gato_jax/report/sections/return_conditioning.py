"""Return conditioning: the return asked for against the return got, beside filtering and beside taking everything."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gato_jax.errors import GatoError
from gato_jax.report import figures, study_page
from gato_jax.report import scores as scoring

_TARGET = "act.return_target"


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """One line for each run and task; GatoError where no run was asked for a return."""
  lines = [_line(played, score) for played in study.with_scores() for score in played.scores]
  if all(line["asked"] == "" for line in lines):
    raise GatoError(f"no run of {study.name} that was asked for a return (its changes set {_TARGET}) has been played")
  path = out / "return_conditioning.png"
  _draw(lines, path)
  arms = dict.fromkeys(line["arm"] for line in lines)
  mean = [
    {"arm": arm, "tasks": len(of_arm), "mean_score": float(np.mean([line["score"] for line in of_arm]))}
    for arm in arms
    for of_arm in [[line for line in lines if line["arm"] == arm]]
  ]
  caption = (
    "Return asked for and mean return got, in units of the expert's (dashed: alike), with 95 % intervals; across: the "
    "runs that are not asked. The random actor's mean return is dotted"
  )
  tables = {"arms": mean, "returns": lines}
  return study_page.Section("Return conditioning", _text(mean, lines), [(path, caption)], tables)


def _line(played: study_page.Played, score: scoring.TaskScore) -> dict[str, Any]:
  step = scoring.newest_step(played.rows)
  rows = scoring.unique(played.rows)
  rows = [r for r in rows if (r.task, r.actor, r.step) == (score.task, "gato", step)]
  returns = np.array([r.episode_return for r in rows])
  means = scoring.resampled_means(returns, [r.seed for r in rows])

  def units(value: float) -> float:
    """As returns.Asked counts them."""
    return float(1 + (value - score.expert_return) / abs(score.expert_return))

  low, high = scoring.percentiles(means)
  return {
    "arm": played.labels.get("arm", played.run.name),
    "task": score.task,
    "asked": played.run.changes.get(_TARGET, ""),
    "got": units(returns.mean()),
    "low": units(low),
    "high": units(high),
    "random": units(score.random_mean),
    "score": score.score,
    "episodes": len(returns),
  }


def _text(mean: Sequence[Mapping[str, Any]], lines: Sequence[Mapping[str, Any]]) -> list[str]:
  text = ["Mean score over tasks: " + ", ".join(f"{row['arm']} {row['mean_score']:.1f}" for row in mean) + "."]
  for task in dict.fromkeys(line["task"] for line in lines):
    asked = sorted((line["asked"], line["got"]) for line in lines if line["task"] == task and line["asked"] != "")
    pairs = ", ".join(f"{want:g}: {got:.2f}" for want, got in asked)
    gap = np.mean([abs(got - want) for want, got in asked])
    text.append(f"{task}, asked for and got: {pairs}; they differ by {gap:.2f} on average.")
  return text


def _draw(lines: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  tasks = list(dict.fromkeys(line["task"] for line in lines))
  figure = Figure(figsize=(3.1 * len(tasks), 3.2))
  for place, task in enumerate(tasks):
    axes = figure.add_subplot(1, len(tasks), place + 1)
    of_task = [line for line in lines if line["task"] == task]
    asked = sorted((line for line in of_task if line["asked"] != ""), key=lambda line: line["asked"])
    x, y = [line["asked"] for line in asked], [line["got"] for line in asked]
    ends = [y[i] - line["low"] for i, line in enumerate(asked)], [line["high"] - y[i] for i, line in enumerate(asked)]
    axes.errorbar(x, y, ends, fmt="o-", color=figures.COLORS[0], linewidth=1.3, markersize=4, capsize=2, label="asked")
    axes.plot([0, max(x)], [0, max(x)], color=figures.INK, linewidth=0.8, linestyle=(0, (4, 3)))
    for turn, line in enumerate(line for line in of_task if line["asked"] == ""):
      axes.axhline(line["got"], color=figures.COLORS[turn + 1], linewidth=1.3, label=line["arm"])
    axes.axhline(of_task[0]["random"], color=figures.INK, linewidth=0.8, linestyle=":")
    axes.set_title(task.split(".", 1)[1], fontsize=9)
    axes.set_xlabel("return asked for")
    if not place:
      axes.set_ylabel("return got")
      axes.legend(frameon=False, fontsize=7, loc="upper left")
    axes.set_ylim(top=1.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#dddddd", linewidth=0.6)
  figure.tight_layout()
  figure.savefig(path, dpi=100, facecolor="white")
