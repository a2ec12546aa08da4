"""What probes tell of domain and task along the depth, and what acting loses without the directions of the tasks.

Labels of runs: "look" ("timestep" or "tokens") of those that are looked at; "removed" (rows.REMOVED, or "none") and
"directions" of those that are played.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from gato_jax import results
from gato_jax.errors import GatoError
from gato_jax.interpret import rows as files
from gato_jax.interpret.rows import LAST, NOTHING, STEP, TASK, Probe, Without
from gato_jax.report import interpret_figures as figures
from gato_jax.report import scores as scoring
from gato_jax.report import study_page

ALL = "all tasks"


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Figures and tables of what is finished.

  Raises:
    GatoError: nothing is.
  """
  looked = {run.labels["look"]: run.folder / files.FOLDER for run in study.runs if "look" in run.labels}
  read = {look: list(results.read(folder / files.PROBES, Probe)) for look, folder in looked.items()}
  without = [row for folder in looked.values() for row in results.read(folder / files.WITHOUT, Without)]
  step, tokens = read.get("timestep", []), read.get("tokens", [])
  kinds = (NOTHING, *files.REMOVED)
  played = sorted(
    (run for run in study.runs if "removed" in run.labels and run.scores),
    key=lambda run: (run.labels["directions"], kinds.index(run.labels["removed"])),
  )
  if not (step or tokens or played):
    raise GatoError(f"nothing of {study.name} is finished yet; run python -m experiments.study --config=...")
  text, drawn, tables = [], [], {}
  if step:
    figures.depth(step, out / "depth.png")
    figures.components(step, out / "components.png")
    text += [_method(step), _along_depth(step)]
    drawn.append((out / "depth.png", "Accuracy of probes of one timestep by depth, with 95 % intervals."))
    drawn.append((out / "components.png", "Linear probes for the task by what is kept of the state."))
    tables["jumps"] = jumps(step)
  if tokens:
    figures.by_tokens(tokens, out / "tokens.png")
    drawn.append((out / "tokens.png", "Linear probes of the mean over the first n tokens of a window of many steps."))
  if played:
    tables["removal"] = removal(played)
    figures.removal(bars(played), out / "removal.png")
    drawn.append((out / "removal.png", "Scores with directions taken out of the residual stream, with 95 % intervals."))
    text += _without_directions(tables["removal"])
    tables["scores"] = by_task(played)
  if without:
    tables["told_without"] = [dataclasses.asdict(row) for row in without]
  tables["probes"] = [{k: v for k, v in dataclasses.asdict(row).items() if k != "by_class"} for row in step + tokens]
  tables["classes"] = _classes(step)
  return study_page.Section("Is it more than a switch between experts?", text, drawn, tables)


def jumps(rows: Sequence[Probe]) -> list[dict[str, Any]]:
  """Linear probes of whole states: their accuracy at every depth, and where it gains most."""
  table = []
  plain = [row for row in rows if row.probe == "linear" and not (row.components or row.signs or row.shuffled)]
  for target, state in dict.fromkeys((row.target, row.state) for row in plain):
    line = sorted((r for r in plain if (r.target, r.state) == (target, state)), key=lambda r: r.layer)
    accuracy = [row.accuracy for row in line]
    at = 1 + int(np.argmax(np.diff(accuracy)))
    table.append(
      {
        "target": target,
        "state": state,
        "majority": line[0].majority,
        **{_place(row): row.accuracy for row in line},
        "largest gain at": _place(line[at]),
        "gain": accuracy[at] - accuracy[at - 1],
      }
    )
  return table


def bars(played: Sequence[study_page.Played]) -> dict[tuple[str, int], dict[str, tuple[float, float, float]]]:
  """(kind, directions) -> "all tasks" (the mean over domains) and each domain -> score, low, high."""
  return {_key(run): _groups(run.scores) for run in played}


def removal(played: Sequence[study_page.Played]) -> list[dict[str, Any]]:
  """A row a run and group of tasks, and its difference to the run with nothing taken out.

  Episodes have the same seeds in all runs and are drawn together, so that the difference's interval is a paired one.
  """
  whole = next((run for run in played if run.labels["removed"] == NOTHING), None)
  table = []
  for run in played:
    for group, (score, low, high) in _groups(run.scores).items():
      row = {"removed": run.labels["removed"], "directions": run.labels["directions"], "tasks": group}
      row |= {"score": score, "low": low, "high": high, "lost": None, "lost_low": None, "lost_high": None}
      if whole and run is not whole:
        row |= dict(zip(("lost", "lost_low", "lost_high"), _lost(whole.scores, run.scores, group), strict=True))
      table.append(row)
  return table


def by_task(played: Sequence[study_page.Played]) -> list[dict[str, Any]]:
  return [
    {
      "removed": run.labels["removed"],
      "directions": run.labels["directions"],
      "task": score.task,
      "score": score.score,
      "low": score.low if score.has_interval else None,
      "high": score.high if score.has_interval else None,
      "episodes": score.episodes,
    }
    for run in played
    for score in run.scores
  ]


def _key(run: study_page.Played) -> tuple[str, int]:
  return run.labels["removed"], run.labels["directions"]


def _groups(scores: Sequence[scoring.TaskScore]) -> dict[str, tuple[float, float, float]]:
  domains = scoring.by_domain(scores)
  groups = {ALL: (scoring.mean_over_domains(scores), *scoring.intervals(scores)["mean_over_domains"])}
  for domain, of_domain in domains.items():
    low, high = scoring.interval(of_domain, lambda values: values.mean(axis=0))
    groups[domain] = float(np.mean([one.score for one in of_domain])), float(low), float(high)
  return {name: tuple(map(float, values)) for name, values in groups.items()}


def _lost(
  whole: Sequence[scoring.TaskScore], rest: Sequence[scoring.TaskScore], group: str
) -> tuple[float, float, float]:
  """Points of the score, with the paired interval."""
  before = {one.task: one for one in whole}
  pairs = [(before[one.task], one) for one in rest if one.task in before and group in (ALL, one.domain)]
  domains = sorted({one.domain for one, _ in pairs})

  def mean(of_pair: Any) -> Any:
    return np.mean([np.mean([of_pair(*p) for p in pairs if p[0].domain == d], axis=0) for d in domains], axis=0)

  low, high = scoring.percentiles(mean(lambda a, b: a.resampled - b.resampled))
  return float(mean(lambda a, b: a.score - b.score)), float(low), float(high)


def _place(row: Probe) -> str:
  return figures.place(row.layer).replace("-\n", "").replace("\n", " ")


def _classes(rows: Sequence[Probe]) -> list[dict[str, Any]]:
  """Share of each task's test samples that linear probes of whole states tell, by depth."""
  table = []
  for row in rows:
    if row.target == TASK and row.probe == "linear" and not (row.components or row.signs or row.shuffled):
      table += [{"state": row.state, "layer": row.layer, "task": t, "told": share} for t, share in row.by_class.items()]
  return table


def _method(rows: Sequence[Probe]) -> str:
  one = next(row for row in rows if row.target == TASK)
  return (
    f"Linear probes and probes with one hidden layer are fitted on {one.fitted:,} timesteps and tested on"
    f" {one.tested:,} of {one.episodes:,} other episodes and documents, equally many of each of {one.classes} tasks. A"
    " state is that at the separator, from which the first action is predicted, or the mean over the observation and"
    " the separator; documents have no timestep, there it is the last token of a piece or the mean over it. Raw tokens"
    " are a bag: how often each id and kind stands in the step, and the mean patch. Intervals are bootstraps over test"
    " episodes, or the exact bound where all are right."
  )


def _along_depth(rows: Sequence[Probe]) -> str:
  said = []
  for row in jumps(rows):
    if row["target"] == TASK:
      depths = [key for key in row if key.startswith(("raw", "embed", "layer"))]
      values = ", ".join(f"{name} {row[name]:.1%}" for name in depths)
      state = {LAST: "the separator", STEP: "the mean of the step"}[row["state"]]
      said.append(f"from {state} {values} (largest gain at {row['largest gain at']})")
  majority = next(row.majority for row in rows if row.target == TASK)
  return f"The task, linearly: {'; '.join(said)}. Naming one task always would give {majority:.1%}."


def _without_directions(table: Sequence[dict[str, Any]]) -> list[str]:
  everything = [row for row in table if row["tasks"] == ALL]
  said = [
    f"{row['directions']} of {row['removed']}: {row['score']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
    + ("" if row["lost"] is None else f", lost {row['lost']:.1f} [{row['lost_low']:.1f}, {row['lost_high']:.1f}]")
    if row["directions"]
    else f"nothing: {row['score']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
    for row in everything
  ]
  return [
    "Causally: while it acts, the states after every block named in the config are made equal along some directions:"
    " those that span the tasks' means (task), as many of the most variance within tasks (within), as many random ones."
    f" Mean score over domains: {'; '.join(said)}."
  ]
