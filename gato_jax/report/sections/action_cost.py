"""Experts against the network: what an action costs each, and what it is worth."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gato_jax.errors import GatoError
from gato_jax.report import figures, study_page
from gato_jax.report import scores as scoring

KEPT = 0.8  # of the expert's score
_NAMED_BELOW = 90  # score of the network


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Joins the study's scores with the costs in its folder; GatoError where nobody measured them."""
  path = out.parent / "action_cost.jsonl"
  if not path.exists():
    raise GatoError(f"no costs in {path}; measure them: python -m benchmarks.action_cost --out={path} --gato=WORKDIR")
  costs = [json.loads(line) for line in path.read_text().splitlines()]
  experts = {row["task"]: row for row in costs if row["actor"] == "expert"}
  networks = {(row["what"], row["task"]): row for row in costs if row["actor"] == "gato"}
  lines = []
  for played in study.with_scores():
    for score in played.scores:
      cost = networks.get((played.run.plays, score.task))
      if cost and score.task in experts:
        lines.append(_line(played.run.name, score, _expert_score(played, score), experts[score.task], cost))
  if not lines:
    raise GatoError(f"{path} has costs of no network and task that were played; give --gato={study.runs[0].run.plays}")
  drawn = out / "action_cost.png"
  _draw(lines, drawn)
  others = [_of_expert(row) for task, row in sorted(experts.items()) if task not in {line["task"] for line in lines}]
  caption = (
    "Score against processor time of an action, one core, batch 1: an expert (open) and the network that imitates it "
    f"(filled), joined for each task; those below {_NAMED_BELOW} are named"
  )
  return study_page.Section(
    "Experts against the network", _text(lines), [(drawn, caption)], {"action_cost": lines, "other_experts": others}
  )


def _expert_score(played: study_page.Played, score: scoring.TaskScore) -> float:
  """The mean of all its episodes on the scale of scores, on which its best window is 100."""
  rows = (row for row in scoring.unique(played.rows) if (row.task, row.actor) == (score.task, scoring.EXPERT))
  mean = np.mean([row.episode_return for row in rows] or [score.expert_return])
  return float(100 * (mean - score.random_mean) / (score.expert_return - score.random_mean))


def _of_expert(row: Mapping[str, Any]) -> dict[str, Any]:
  ahead = f"{row['look_ahead']:,.0f} {row['look_ahead_unit']}" if row["look_ahead"] else "none"
  return {
    "task": row["task"],
    "expert": row["what"],
    "expert_numbers": row["parameters"],
    "expert_ms": row["cpu_ms"],
    "expert_ms_on_the_clock": f"{row['ms_p50']:.3g} [{row['ms_p10']:.3g}, {row['ms_p90']:.3g}]",
    "expert_simulates": ahead,
    "expert_megaflop_at_most": row["flops_at_most"] / 1e6,
  }


def _line(
  run: str, score: scoring.TaskScore, expert_score: float, expert: Mapping[str, Any], cost: Mapping[str, Any]
) -> dict[str, Any]:
  return {
    **_of_expert(expert),
    "expert_score": expert_score,
    "network": run,
    "network_parameters": cost["parameters"],
    "network_ms": cost["cpu_ms"],
    "network_ms_on_the_clock": f"{cost['ms_p50']:.3g} [{cost['ms_p10']:.3g}, {cost['ms_p90']:.3g}]",
    "network_megaflop": cost["flops"] / 1e6,
    "network_score": score.score,
    "times_the_experts_time": cost["cpu_ms"] / expert["cpu_ms"],
    "keeps_80_%": "yes" if score.score >= KEPT * expert_score else "no",
  }


def _text(lines: Sequence[Mapping[str, Any]]) -> list[str]:
  cheaper = [line for line in lines if line["times_the_experts_time"] < 1]
  kept = [line for line in lines if line["keeps_80_%"] == "yes"]
  both = [line["task"] for line in cheaper if line in kept]
  fewer = sum(line["network_megaflop"] < line["expert_megaflop_at_most"] for line in lines)
  return [
    f"The network takes less processor time an action than its expert on {len(cheaper)} of {len(lines)} tasks, keeps "
    f"{100 * KEPT:.0f} % of the expert's score on {len(kept)}, and does both on {len(both)}"
    + (f": {', '.join(both)}." if both else "."),
    f"In operations it is certainly not cheaper on {len(lines) - fewer}: what it needs there is more than the most "
    "that the expert can have done in its time. Of the others nothing is known, because nobody counts a simulator's.",
    "Milliseconds are the mean of the process's own time on one core, batch 1; on the clock: median and 10th to 90th "
    "percentile. An expert's numbers are those in its attributes and the literals of its code; its operations are an "
    "upper bound, its time at the speed of a matrix product. The network's are counted (gato_jax.model.flops.action).",
  ]


def _draw(lines: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  figure = Figure(figsize=(7.2, 4.4))
  axes = figure.subplots()
  styles = figures.styles(*(line["task"].split(".", 1)[0] for line in lines))
  for line in lines:
    domain, name = line["task"].split(".", 1)
    color = styles[domain][0]
    x, y = (line["expert_ms"], line["network_ms"]), (line["expert_score"], line["network_score"])
    axes.plot(x, y, color=color, linewidth=0.9, alpha=0.7)
    axes.plot(x[:1], y[:1], "o", color=color, markerfacecolor="white", markersize=6)
    axes.plot(x[1:], y[1:], "o", color=color, markersize=5)
    if y[1] < _NAMED_BELOW:  # the others lie upon each other; the table has them
      axes.annotate(name, (x[1], y[1]), xytext=(5, -3), textcoords="offset points", fontsize=6.5, color=figures.INK)
  for domain, (color, _, _) in styles.items():
    axes.plot([], [], "o", color=color, label=domain)
  axes.set_xscale("log")
  axes.set_xlabel("milliseconds of processor time an action")
  axes.set_ylabel("score, % of the expert's best window")
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(True, color="#dddddd", linewidth=0.6)
  axes.set_axisbelow(True)
  axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
  figure.savefig(path, dpi=100, bbox_inches="tight", facecolor="white")
