"""The report: index.html with its figures inside, PNGs and videos beside it."""

import datetime
import json
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax import results
from gato_jax.baselines import Baseline
from gato_jax.language import measure
from gato_jax.mixture import MixtureConfig
from gato_jax.report import above_expert, action_scores, figures, html, language_scores, language_table, table, videos
from gato_jax.report import metrics as training
from gato_jax.report import scores as scoring

_HERE = pathlib.Path(__file__).parent


def write(
  out: pathlib.Path,
  results_path: pathlib.Path,
  metrics_path: pathlib.Path,
  videos_folder: pathlib.Path,
  facts: Mapping[str, Any],
  actor: str = "gato",
  step: int | None = None,
  baselines: Mapping[str, Baseline] | None = None,
  measured: Mapping[str, Sequence[measure.Row]] | None = None,
  pictures: pathlib.Path | None = None,
  actions: Sequence[action_scores.Score] = (),
  keep: float = MixtureConfig.keep,
) -> tuple[pathlib.Path, list[scoring.TaskScore]]:
  """Writes the report and returns (the page's path, the scores in it).

  Args:
    out: the report's folder, e.g. <workdir>/report; files of an earlier report there are overwritten.
    results_path: results.jsonl, rows of the actor, "random" and "expert"; may lack the actor's, or be absent, where
      something was `measured`.
    metrics_path: metrics.jsonl of training; may be absent.
    videos_folder: <domain>.<task>.gif or .mp4 (report/videos.py); may be absent.
    facts: what to say about the run, label -> text or number, e.g. "parameters", "tokens", "minutes of training",
      "machine", "config", "date"; "commands", a list, is printed as a block.
    actor, step: whose rows are scored; the newest step by default.
    baselines: "domain.task" -> means, for tasks without rows of a baseline.
    measured: task -> rows of texts, captions and answers (language_scores.newest). pictures: the folder of theirs.
    actions: of recorded tasks, of action_scores.scores.
    keep: of the run's data.keep.

  Raises:
    GatoError: nothing to score, a missing baseline, or a file that cannot be read.
  """
  rows = list(results.read(results_path))
  measured = measured or {}
  has_played = any(row.actor == actor for row in rows)
  scores = scoring.task_scores(rows, actor, step, baselines) if has_played or not (measured or actions) else []
  if step is None:
    of_measured = [row.step for of_task in measured.values() for row in of_task] + [score.step for score in actions]
    step = scoring.newest_step(rows, actor) if has_played else max(of_measured)
  out.mkdir(parents=True, exist_ok=True)
  metrics = training.read(metrics_path)
  style = figures.styles(*(s.domain for s in scores), *training.domains(metrics))
  x = "tokens" if any("tokens" in m for m in metrics) else "step"
  by_step = scoring.scores_by_step(rows, baselines or {}, actor)
  style_all = figures.styles(*style, *(task.split(".", 1)[0] for task in by_step))
  has_score_curves = figures.score_curves(by_step, out / "score_curves.png", style_all)
  has_curves = figures.learning_curves(metrics, out / "learning_curves.png", style, x)

  facts = {"date": datetime.date.today().isoformat(), **facts}
  path = out / "index.html"
  html.write(
    path,
    "page.html",
    {"interval": table.interval, "percent": table.percent, "success": table.success, "number": _number},
    scores=scores,
    **(_control(scores, out, style) if scores else {}),
    **_above_expert(above_expert.compare(rows, scores, actor, step, keep), out),
    **_language(measured, pictures, out),
    actions=[{"score": score, "cells": action_scores.cells(score)} for score in actions],
    action_headings=action_scores.HEADINGS,
    action_note=action_scores.note(actions) if actions else "",
    threshold=table.THRESHOLD,
    score_curves=html.embed(out / "score_curves.png") if has_score_curves else None,
    unplayed=scoring.unplayed(rows, scores),
    step=step,
    curves=html.embed(out / "learning_curves.png") if has_curves else None,
    rollouts=_rollouts(videos_folder, out, scores),
    facts={k: v for k, v in facts.items() if k != "commands"},
    commands=facts.get("commands", []),
  )
  return path, scores


def _control(scores: Sequence[scoring.TaskScore], out: pathlib.Path, style: figures.Styles) -> dict[str, Any]:
  """What the page says about tasks that were played."""
  figures.figure5(scores, out / "figure5.png", style)
  figures.task_bars(scores, out / "tasks.png", style)
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
    "published": _published(scores),
  }


def _above_expert(found: Sequence[above_expert.Comparison], out: pathlib.Path) -> dict[str, Any]:
  """What the page says about the network against the expert's episodes; nothing where there are none."""
  lines = above_expert.table(found)
  if lines:
    html.write_csv(out / "above_expert.csv", lines)
  return {"above_expert": lines, "above_summary": above_expert.summary(found)}


def _language(
  measured: Mapping[str, Sequence[measure.Row]], pictures: pathlib.Path | None, out: pathlib.Path
) -> dict[str, Any]:
  """What the page says about texts, captions and answers."""
  scores = language_scores.scores(measured)
  cells = [
    {
      "score": s,
      "value": language_table.number(s, s.value),
      "interval": language_table.interval(s),
      "chance": language_table.number(s, s.chance),
      "blind": language_table.number(s, s.blind),
      "better": s.beats,
    }
    for s in scores
  ]
  examples = language_table.examples(measured, pictures, out) if pictures else []
  return {
    "language": cells,
    "language_notes": language_table.notes(scores),
    "language_steps": sorted({row.step for of_task in measured.values() for row in of_task}),
    "examples": examples,
  }


def _rollouts(folder: pathlib.Path, out: pathlib.Path, scores: Sequence[scoring.TaskScore]) -> dict[str, list[dict]]:
  """Domain -> what the page says under each video; the videos are copied beside the page."""
  by_task = {s.task: s for s in scores}
  rollouts: dict[str, list[dict]] = {}
  for rollout in videos.find(folder):
    (out / "videos").mkdir(exist_ok=True)
    shutil.copyfile(rollout.path, out / "videos" / rollout.path.name)
    rollouts.setdefault(rollout.domain, []).append(
      {"rollout": rollout, "file": f"videos/{rollout.path.name}", "score": by_task.get(rollout.task)}
    )
  return rollouts


def _published(scores: Sequence[scoring.TaskScore]) -> list[dict[str, str]]:
  """What the paper reports (GATO_SPEC section 5) beside ours, for the domains we have."""
  reached, tasks = scoring.bar(scores, table.THRESHOLD)
  lines = [
    {
      "domain": "all",
      "paper": "450 of 604 tasks (75 %) at or above 50 % of the expert",
      "ours": f"{reached} of {tasks} tasks ({100 * reached / tasks:.0f} %) at or above 50 % of the expert",
    }
  ]
  published = json.loads((_HERE / "published.json").read_text())
  for domain, of_domain in scoring.by_domain(scores).items():
    if domain in published:
      paper, threshold = published[domain]
      n, m = scoring.bar(of_domain, threshold)
      mean = scoring.domain_means(of_domain)[domain]
      ours = f"mean score {mean:.1f}; at or above {threshold} % of the expert on {n} of {m} tasks"
      lines.append({"domain": domain, "paper": paper, "ours": ours})
  return lines


def _number(value: Any) -> str:
  """Large counts with a unit, other numbers in four digits, anything else as it is."""
  if isinstance(value, bool) or not isinstance(value, int | float):
    return str(value)
  for unit, size in (("B", 1e9), ("M", 1e6)):
    if abs(value) >= size:
      return f"{value / size:.4g}{unit}"
  return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
