"""Writes the report of a run: index.html with its figures inside, PNGs and videos beside it."""

import datetime
import json
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.analysis import run_metrics
from experiments.analysis.cloning import rows as cloning
from experiments.analysis.language import measure
from experiments.analysis.recorded import rows as recorded
from experiments.analysis.report import (
  above_expert,
  action_scores,
  drawing,
  figures,
  html,
  language_scores,
  language_table,
  repeated_actions,
  strip,
  table,
)
from gato_jax.data.mixture import MixtureConfig
from gato_jax.env import results
from gato_jax.env.repeats import STILL_STEPS
from gato_jax.evaluate import scores as scoring
from gato_jax.evaluate import videos
from gato_jax.evaluate.baselines import Baseline

_PUBLISHED = pathlib.Path(__file__).parent / "published.json"


def write(
  out: pathlib.Path,
  results_path: pathlib.Path,
  metrics_path: pathlib.Path,
  videos_directory: pathlib.Path,
  facts: Mapping[str, Any],
  actor: str = results.POLICY,
  step: int | None = None,
  baselines: Mapping[str, Baseline] | None = None,
  measured: Mapping[str, Sequence[measure.DocumentRow]] | None = None,
  pictures: pathlib.Path | None = None,
  actions: Sequence[action_scores.ActionScore] = (),
  recorded_rows: Sequence[recorded.ActionErrorRow] = (),
  recorded_videos: pathlib.Path | None = None,
  cloned: Sequence[cloning.CloningRow] = (),
  keep: float = MixtureConfig.keep,
) -> tuple[pathlib.Path, list[scoring.TaskScore]]:
  """Writes the report and returns (the page's path, the scores in it).

  Args:
    out: The report's directory, e.g. <workdir>/report. Files of an earlier report are overwritten.
    results_path: results.jsonl with rows of the actor, of "random" and of "expert". It may lack
      the actor's, or not exist, if something was `measured` or there are `actions`.
    metrics_path: metrics.jsonl of training; it may not exist.
    videos_directory: Directory of the videos (gato_jax/evaluate/videos.py); it may not exist.
    facts: Label -> text or number about the run, e.g. "parameters", "tokens", "minutes of
      training", "machine", "config", "date". "commands", a list, is printed as a block.
    actor: Name of the actor that is scored.
    step: Training step that is scored; the newest by default.
    baselines: "domain.task" -> means, for tasks without rows of a baseline.
    measured: Task -> rows of texts, captions and answers (language_scores.newest).
    pictures: Directory of the images of these rows.
    actions: Scores of recorded tasks (action_scores.scores).
    recorded_rows: The rows of all checkpoints that they are from.
    recorded_videos: Directory of the videos of recorded and predicted actions.
    cloned: Rows of control tasks along the expert's episodes (experiments/analysis/cloning/).
    keep: The run's data.keep.

  Raises:
    GatoError: If there is nothing to score, a baseline is missing, or a file cannot be read.
  """
  rows = list(results.read(results_path))
  measured = measured or {}
  was_played = any(row.actor == actor for row in rows)

  # If nothing was played but something was measured, there are no scores. If nothing was measured
  # either, task_scores raises the error that says what to do.
  scores: list[scoring.TaskScore] = []
  if was_played or not (measured or actions):
    scores = scoring.task_scores(rows, actor, step=step, baselines=baselines)
  if step is None:
    if was_played:
      step = scoring.newest_step(rows, actor)
    else:
      measured_steps = [row.step for of_task in measured.values() for row in of_task]
      step = max(measured_steps + [score.step for score in actions])

  out.mkdir(parents=True, exist_ok=True)
  path = out / "index.html"

  # One table of colours for the figures, with the domains of texts too.
  metrics = run_metrics.read(metrics_path)
  style = drawing.styles(*(score.domain for score in scores), *run_metrics.domains(metrics))
  facts = {"date": datetime.date.today().isoformat(), **facts}

  filters: dict[str, Callable[[Any], str]] = {
    "interval": table.interval,
    "percent": table.percent,
    "success": table.success,
    "number": _number,
  }

  html.write(
    path,
    "page.html",
    filters=filters,
    scores=scores,
    step=step,
    threshold=table.THRESHOLD,
    unplayed=scoring.unplayed(rows, scores),
    strip=html.embed(out / "strip.png") if strip.write(videos_directory, out / "strip.png") else "",
    rollouts=_rollouts(videos_directory, out, scores=scores),
    **_control_values(scores, out, style=style),
    **_above_expert_values(above_expert.compare(rows, scores, actor, step, keep), out),
    repeats=repeated_actions.by_domain(rows, actor, step),
    still_steps=STILL_STEPS,
    cloned=cloning.by_task(cloned),
    **_language_values(measured, pictures, out=out),
    **_action_values(actions, out, recorded_rows, recorded_videos),
    **_curve_values(scoring.scores_by_step(rows, baselines or {}, actor), metrics, out, style),
    **html.made_by(facts),
  )
  return path, scores


def _control_values(
  scores: Sequence[scoring.TaskScore], out: pathlib.Path, style: drawing.Styles
) -> dict[str, Any]:
  """Returns the page's values about tasks that were played, and draws their figures."""
  if not scores:
    return {}

  figures.figure5(scores, out / "figure5.png", style=style)
  figures.task_bars(scores, out / "tasks.png", style=style)
  table.write_csv(scores, out / "tasks.csv")

  return {
    "by_domain": scoring.by_domain(scores),
    "bar": scoring.bar(scores, table.THRESHOLD),
    "mean_over_domains": scoring.mean_over_domains(scores),
    "interquartile_mean": scoring.interquartile_mean(scores),
    "intervals": scoring.intervals(scores, table.THRESHOLD),
    "held_fixed": table.held_fixed(scores),
    "figure5": html.embed(out / "figure5.png"),
    "tasks": html.embed(out / "tasks.png"),
    "published": _beside_published(scores),
  }


def _above_expert_values(
  comparisons: Sequence[above_expert.Comparison], out: pathlib.Path
) -> dict[str, Any]:
  """Returns the page's values about the network against its experts, and writes their CSV."""
  lines = above_expert.table(comparisons)
  if lines:
    html.write_csv(out / "above_expert.csv", lines)

  return {"above_expert": lines, "above_summary": above_expert.summary(comparisons)}


def _language_values(
  measured: Mapping[str, Sequence[measure.DocumentRow]],
  pictures: pathlib.Path | None,
  out: pathlib.Path,
) -> dict[str, Any]:
  """Returns the page's values about texts, captions and answers."""
  scores = language_scores.scores(measured)
  lines = [
    {
      "score": score,
      "value": language_table.number(score, score.value),
      "interval": language_table.interval(score),
      "chance": language_table.number(score, score.chance),
      "blind": language_table.number(score, score.blind),
      "better": score.beats,
    }
    for score in scores
  ]

  return {
    "language": lines,
    "language_notes": language_table.notes(scores),
    "language_steps": sorted({row.step for of_task in measured.values() for row in of_task}),
    "examples": language_table.examples(measured, pictures, out) if pictures else [],
  }


def _action_values(
  actions: Sequence[action_scores.ActionScore],
  out: pathlib.Path,
  rows: Sequence[recorded.ActionErrorRow],
  videos_directory: pathlib.Path | None,
) -> dict[str, Any]:
  """Returns the page's values about recorded actions; copies their videos."""
  lines = [{"score": score, "cells": action_scores.cells(score)} for score in actions]

  filmed = []
  for task in dict.fromkeys(score.task for score in actions):
    path = (videos_directory or out) / f"{task}.mp4"
    if path.exists():
      (out / "recorded").mkdir(exist_ok=True)
      shutil.copyfile(path, out / "recorded" / path.name)
      facts = json.loads(path.with_suffix(".json").read_text())
      filmed.append({"task": task, "file": f"recorded/{path.name}", **facts})

  curve = ""
  if action_scores.draw_by_step(rows, out / "action_errors.png"):
    curve = html.embed(out / "action_errors.png")

  return {
    "actions": lines,
    "action_videos": filmed,
    "action_curve": curve,
    "action_headings": action_scores.HEADINGS,
    "action_note": action_scores.note(actions) if actions else "",
  }


def _curve_values(
  scores_by_step: Mapping[str, Mapping[int, float]],
  metrics: run_metrics.Metrics,
  out: pathlib.Path,
  style: drawing.Styles,
) -> dict[str, Any]:
  """Returns the page's figures over training, None without enough steps."""
  # Earlier checkpoints may have played other domains too.
  all_styles = drawing.styles(*style, *(task.split(".", 1)[0] for task in scores_by_step))
  score_path = out / "score_curves.png"
  has_scores = figures.score_curves(scores_by_step, score_path, style=all_styles)

  # Metrics of old runs have no tokens.
  x = "tokens" if any("tokens" in row for row in metrics) else "step"
  loss_path = out / "learning_curves.png"
  has_losses = figures.learning_curves(metrics, loss_path, style=style, x=x)

  return {
    "score_curves": html.embed(score_path) if has_scores else None,
    "curves": html.embed(loss_path) if has_losses else None,
  }


def _rollouts(
  directory: pathlib.Path, out: pathlib.Path, scores: Sequence[scoring.TaskScore]
) -> dict[str, list[dict[str, Any]]]:
  """Copies the videos beside the page; returns domain -> their files and captions' values."""
  by_task = {score.task: score for score in scores}
  rollouts: dict[str, list[dict[str, Any]]] = {}
  for rollout in videos.find(directory):
    # The page refers to the copies, so that its directory can be moved.
    (out / "videos").mkdir(exist_ok=True)
    shutil.copyfile(rollout.path, out / "videos" / rollout.path.name)
    rollouts.setdefault(rollout.domain, []).append(
      {
        "rollout": rollout,
        "file": f"videos/{rollout.path.name}",
        "score": by_task.get(rollout.task),
      }
    )
  return rollouts


def _beside_published(scores: Sequence[scoring.TaskScore]) -> list[dict[str, str]]:
  """Returns the paper's results (Reed et al. 2022, section 4.1) beside ours, by domain."""
  reached, tasks = scoring.bar(scores, table.THRESHOLD)
  share = 100 * reached / tasks
  lines = [
    {
      "domain": "all",
      "paper": "450 of 604 tasks (75 %) at or above 50 % of the expert",
      "ours": f"{reached} of {tasks} tasks ({share:.0f} %) at or above 50 % of the expert",
    }
  ]

  # Domain -> (the paper's result as a text, the threshold that it is for).
  published = json.loads(_PUBLISHED.read_text())
  for domain, of_domain in scoring.by_domain(scores).items():
    if domain not in published:
      continue

    paper, threshold = published[domain]
    reached, tasks = scoring.bar(of_domain, threshold)
    mean = scoring.domain_means(of_domain)[domain]
    ours = (
      f"mean score {mean:.1f}; at or above {threshold} % of the expert on {reached} of {tasks}"
      " tasks"
    )
    lines.append({"domain": domain, "paper": paper, "ours": ours})

  return lines


def _number(value: Any) -> str:
  """Returns large counts with a unit, other numbers in four digits, anything else as it is."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)

  for unit, size in (("B", 1e9), ("M", 1e6)):
    if abs(value) >= size:
      return f"{value / size:.4g}{unit}"
  return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
