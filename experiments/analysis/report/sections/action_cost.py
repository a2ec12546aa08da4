"""Experts against the network: the cost of an action of each, and the score it leads to."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.analysis.report import drawing, study_page
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import scores as scoring

KEPT = 0.8  # of the expert's score
_NAMED_BELOW = 90  # score of the network below which a task is named in the figure


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Joins the study's scores with the costs in its directory.

  Raises:
    GatoError: If no costs were measured, or none of a network and task that were played.
  """
  path = out.parent / "action_cost.jsonl"
  if not path.exists():
    raise GatoError(
      f"no costs in {path}; measure them: python -m benchmarks.action_cost --out={path}"
      " --gato=WORKDIR"
    )

  costs = [json.loads(line) for line in path.read_text().splitlines()]
  experts = {row["task"]: row for row in costs if row["actor"] == results.EXPERT}
  # A checkpoint is named by the run's workdir, as --gato of the benchmark.
  networks = {(row["what"], row["task"]): row for row in costs if row["actor"] == results.POLICY}

  lines = []
  for played in study.with_scores():
    for score in played.scores:
      network = networks.get((played.run.plays, score.task))
      if network is not None and score.task in experts:
        lines.append(_line(played, score, expert=experts[score.task], network=network))
  if not lines:
    raise GatoError(
      f"{path} has costs of no network and task that were played; give"
      f" --gato={study.runs[0].run.plays}"
    )

  png = out / "action_cost.png"
  _draw(lines, png)
  caption = (
    "Score against processor time per action, one core, batch 1: an expert (open) and the network"
    f" that imitates it (filled), joined for each task. Tasks below {_NAMED_BELOW} are named."
  )
  # Experts of tasks that no network played.
  joined = {line["task"] for line in lines}
  others = [_expert_cells(row) for task, row in sorted(experts.items()) if task not in joined]

  return study_page.Section(
    "Experts against the network",
    _text(lines),
    figures=[(png, caption)],
    tables={"action_cost": lines, "other_experts": others},
  )


def _expert_score(played: study_page.Played, score: scoring.TaskScore) -> float:
  """Returns the mean of all of the expert's episodes, on the scale of its best window."""
  returns = [
    row.episode_return
    for row in scoring.unique(played.rows)
    if (row.task, row.actor) == (score.task, results.EXPERT)
  ]
  # Without episodes of the expert only its best window is known.
  mean = np.mean(returns or [score.expert_return])
  return float(100 * (mean - score.random_mean) / (score.expert_return - score.random_mean))


def _clock(cost: Mapping[str, Any]) -> str:
  return f"{cost['ms_p50']:.3g} [{cost['ms_p10']:.3g}, {cost['ms_p90']:.3g}]"


def _expert_cells(row: Mapping[str, Any]) -> dict[str, Any]:
  simulates = "none"
  if row["look_ahead"]:
    # Units that a planner simulates ahead of each action, e.g. steps.
    simulates = f"{row['look_ahead']:,.0f} {row['look_ahead_unit']}"

  return {
    "task": row["task"],
    "expert": row["what"],
    "expert_numbers": row["parameters"],
    "expert_ms": row["cpu_ms"],
    "expert_ms_on_the_clock": _clock(row),
    "expert_simulates": simulates,
    "expert_megaflop_at_most": row["flops_at_most"] / 1e6,
  }


def _line(
  played: study_page.Played,
  score: scoring.TaskScore,
  expert: Mapping[str, Any],
  network: Mapping[str, Any],
) -> dict[str, Any]:
  """Returns a row of the table: the costs of a task's expert and of the network."""
  expert_score = _expert_score(played, score)
  return {
    **_expert_cells(expert),
    "expert_score": expert_score,
    "network": played.run.name,
    "network_parameters": network["parameters"],
    "network_ms": network["cpu_ms"],
    "network_ms_on_the_clock": _clock(network),
    "network_megaflop": network["flops"] / 1e6,
    "network_score": score.score,
    "times_the_experts_time": network["cpu_ms"] / expert["cpu_ms"],
    "keeps_80_%": "yes" if score.score >= KEPT * expert_score else "no",
  }


def _text(lines: Sequence[Mapping[str, Any]]) -> list[str]:
  cheaper = [line for line in lines if line["times_the_experts_time"] < 1]
  kept = [line for line in lines if line["keeps_80_%"] == "yes"]
  both = [line["task"] for line in cheaper if line in kept]
  # An expert's operations are an upper bound, so only the reverse of this is certain.
  fewer = sum(line["network_megaflop"] < line["expert_megaflop_at_most"] for line in lines)
  return [
    "The network takes less processor time per action than its expert on"
    f" {len(cheaper)} of {len(lines)} tasks, keeps {100 * KEPT:.0f} % of the expert's score on"
    f" {len(kept)}, and does both on {len(both)}" + (f": {', '.join(both)}." if both else "."),
    f"In operations it is certainly not cheaper on {len(lines) - fewer}: there it needs more than"
    " the expert can have done in its time. Nothing is known about the others, because the"
    " operations of simulators are not counted.",
    "Milliseconds are the mean of the process's own time on one core, batch 1; on the clock:"
    " median and 10th to 90th percentile. An expert's numbers are those in its attributes and the"
    " literals of its code. Its operations are an upper bound: its time at the speed of a matrix"
    " product. The network's are counted (gato_jax.model.flops.action).",
  ]


def _draw(lines: Sequence[Mapping[str, Any]], path: pathlib.Path) -> None:
  """Draws score against time: a line per task from its expert to the network."""
  figure, axes = drawing.new_axes()
  styles = drawing.styles(*(line["task"].split(".", 1)[0] for line in lines))
  for line in lines:
    domain, name = line["task"].split(".", 1)
    color = styles[domain].color
    expert = line["expert_ms"], line["expert_score"]
    network = line["network_ms"], line["network_score"]
    axes.plot(*zip(expert, network, strict=True), color=color, linewidth=0.9, alpha=0.7)
    axes.plot(*expert, "o", color=color, markerfacecolor="white", markersize=6)
    axes.plot(*network, "o", color=color, markersize=5)

    # The names of good scores would cover each other; the table has them.
    if line["network_score"] < _NAMED_BELOW:
      axes.annotate(
        name,
        network,
        xytext=(5, -3),
        textcoords="offset points",
        fontsize=6.5,
        color=drawing.INK,
      )

  # Entries of the legend, which tasks of the same domain share.
  for domain, style in styles.items():
    axes.plot([], [], "o", color=style.color, label=domain)
  axes.set_xscale("log")
  axes.set_xlabel("milliseconds of processor time per action")
  axes.set_ylabel("score, % of the expert's best window")
  axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
  drawing.save(figure, path, dpi=100)
