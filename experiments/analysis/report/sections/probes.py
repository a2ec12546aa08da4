"""Probes of domain and task by depth, and scores after removing the tasks' directions.

Labels of runs: "look" ("timestep" or "tokens") of those that are interpreted; "removed"
(rows.REMOVED, or "none") and "directions" of those that are played.
"""

import dataclasses
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.analysis.interpret import rows as interpret_rows
from experiments.analysis.interpret.rows import LAST, NOTHING, STEP, TASK, AblatedProbe, Probe
from experiments.analysis.report import interpret_figures, study_page
from experiments.analysis.report.run_figures import ScoreInterval
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import scores as scoring

ALL = "all tasks"


@dataclasses.dataclass
class _Contents:
  """The contents of the section so far.

  Attributes:
    text: Paragraphs.
    figures: PNGs with captions.
    tables: Name -> rows.
  """

  text: list[str] = dataclasses.field(default_factory=list)
  figures: list[tuple[pathlib.Path, str]] = dataclasses.field(default_factory=list)
  tables: dict[str, list[dict[str, Any]]] = dataclasses.field(default_factory=dict)


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Returns figures and tables of what is finished.

  Raises:
    GatoError: If nothing is finished.
  """
  directories = {
    run.labels["look"]: run.directory / interpret_rows.FOLDER
    for run in study.runs
    if "look" in run.labels
  }
  probes = {
    look: list(results.read(directory / interpret_rows.PROBES, Probe))
    for look, directory in directories.items()
  }
  ablated: list[AblatedProbe] = []
  for directory in directories.values():
    ablated += results.read(directory / interpret_rows.WITHOUT, AblatedProbe)

  # Any of the study's runs may be missing: the section shows what there is.
  of_step, of_tokens = probes.get("timestep", []), probes.get("tokens", [])
  # The intact network first, then by number and kind of directions.
  kinds = (NOTHING, *interpret_rows.REMOVED)
  played = [run for run in study.runs if "removed" in run.labels and run.scores]
  played.sort(key=lambda run: (run.labels["directions"], kinds.index(run.labels["removed"])))
  if not (of_step or of_tokens or played):
    raise GatoError(
      f"nothing of {study.name} is finished yet; run python -m experiments.study --config=..."
    )

  contents = _Contents()
  if of_step:
    _add_depth(contents, of_step, out)

  if of_tokens:
    path = out / "tokens.png"
    interpret_figures.by_tokens(of_tokens, path)
    caption = "Linear probes of the mean over the first n tokens of a window of many steps."
    contents.figures.append((path, caption))

  if played:
    _add_removal(contents, played, out)

  if ablated:
    contents.text.append(_ablated_text(ablated))
    contents.tables["told_without"] = [dataclasses.asdict(row) for row in ablated]

  contents.tables["probes"] = []
  for row in of_step + of_tokens:
    cells = dataclasses.asdict(row)
    del cells["by_class"]  # in the table `classes`
    contents.tables["probes"].append(cells)

  contents.tables["classes"] = _class_rows(of_step)

  return study_page.Section(
    "Is it more than a switch between experts?",
    contents.text,
    figures=contents.figures,
    tables=contents.tables,
  )


def _add_depth(contents: _Contents, of_step: Sequence[Probe], out: pathlib.Path) -> None:
  depth_png, components_png = out / "depth.png", out / "components.png"
  interpret_figures.depth(of_step, depth_png)
  interpret_figures.components(of_step, components_png)
  contents.text += [_method_text(of_step), _depth_text(of_step)]
  contents.figures += [
    (depth_png, "Accuracy of probes of one timestep by depth, with 95 % intervals."),
    (components_png, "Linear probes for the task by what is kept of the state."),
  ]
  contents.tables["jumps"] = jumps(of_step)


def _add_removal(
  contents: _Contents, played: Sequence[study_page.Played], out: pathlib.Path
) -> None:
  path = out / "removal.png"
  interpret_figures.removal(bars(played), path)
  caption = "Scores with directions removed from the residual stream, with 95 % intervals."
  contents.figures.append((path, caption))

  contents.tables["removal"] = removal(played)
  contents.text.append(_removal_text(contents.tables["removal"]))
  contents.tables["scores"] = by_task(played)


def jumps(rows: Sequence[Probe]) -> list[dict[str, Any]]:
  """Returns the accuracy of linear probes of whole states at every depth, and its largest gain."""
  plain = [row for row in rows if interpret_figures.is_plain(row)]
  table = []
  for target, state in dict.fromkeys((row.target, row.state) for row in plain):
    line = [row for row in plain if (row.target, row.state) == (target, state)]
    line.sort(key=lambda row: row.layer)
    accuracy = [row.accuracy for row in line]

    # Entry i of the differences is the gain of entry i + 1 of the line.
    largest = 1 + int(np.argmax(np.diff(accuracy)))
    table.append(
      {
        "target": target,
        "state": state,
        "majority": line[0].majority,
        **{interpret_figures.layer_name(row.layer): row.accuracy for row in line},
        "largest gain at": interpret_figures.layer_name(line[largest].layer),
        "gain": accuracy[largest] - accuracy[largest - 1],
      }
    )
  return table


def bars(
  played: Sequence[study_page.Played],
) -> dict[tuple[str, int], dict[str, ScoreInterval]]:
  """Returns (kind, directions) -> ALL (the mean over domains) and each domain -> its score."""
  return {
    (run.labels["removed"], run.labels["directions"]): _group_scores(run.scores) for run in played
  }


def removal(played: Sequence[study_page.Played]) -> list[dict[str, Any]]:
  """Returns the score of each run and group of tasks, and its loss against the intact network.

  Episodes have the same seeds in all runs and are resampled together, so the interval of the loss
  is a paired one.
  """
  intact = next((run for run in played if run.labels["removed"] == NOTHING), None)
  table = []
  for run in played:
    for group, (score, low, high) in _group_scores(run.scores).items():
      # The intact network has nothing to compare with.
      lost: Sequence[float | None] = (None, None, None)
      if intact and run is not intact:
        lost = _lost(intact.scores, run.scores, group)

      table.append(
        {
          "removed": run.labels["removed"],
          "directions": run.labels["directions"],
          "tasks": group,
          "score": score,
          "low": low,
          "high": high,
          "lost": lost[0],
          "lost_low": lost[1],
          "lost_high": lost[2],
        }
      )
  return table


def by_task(played: Sequence[study_page.Played]) -> list[dict[str, Any]]:
  """Returns the score of each run and task."""
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


def _group_scores(scores: Sequence[scoring.TaskScore]) -> dict[str, ScoreInterval]:
  """Returns the mean score of ALL, over domains, and of each domain."""
  low, high = scoring.intervals(scores)["mean_over_domains"]
  groups = {ALL: (scoring.mean_over_domains(scores), float(low), float(high))}
  for domain, of_domain in scoring.by_domain(scores).items():
    low, high = scoring.interval(of_domain, lambda values: values.mean(axis=0))
    mean = float(np.mean([score.score for score in of_domain]))
    groups[domain] = (mean, float(low), float(high))

  return groups


def _lost(
  intact: Sequence[scoring.TaskScore], ablated: Sequence[scoring.TaskScore], group: str
) -> tuple[float, float, float]:
  """Returns the loss in points of score, with its paired interval: (lost, low, high)."""
  before = {score.task: score for score in intact}
  lost: dict[str, list[float]] = {}
  lost_resampled: dict[str, list[np.ndarray]] = {}
  for score in ablated:
    if score.task not in before or group not in (ALL, score.domain):
      continue

    intact_score = before[score.task]
    assert intact_score.resampled is not None and score.resampled is not None
    lost.setdefault(score.domain, []).append(intact_score.score - score.score)
    # Resamples of both runs draw the same seeds, so their difference is a paired one.
    difference = intact_score.resampled - score.resampled
    lost_resampled.setdefault(score.domain, []).append(difference)

  # Mean over domains of the mean over tasks.
  mean = np.mean([np.mean(of_domain) for of_domain in lost.values()])
  resampled_means = [np.mean(of_domain, axis=0) for of_domain in lost_resampled.values()]
  low, high = scoring.percentiles(np.mean(resampled_means, axis=0))
  return float(mean), float(low), float(high)


def _class_rows(rows: Sequence[Probe]) -> list[dict[str, Any]]:
  """Returns the share of each task's samples that linear probes classify correctly, by depth."""
  return [
    {"state": row.state, "layer": row.layer, "task": task, "told": share}
    for row in rows
    if row.target == TASK and interpret_figures.is_plain(row)
    for task, share in row.by_class.items()
  ]


def _method_text(rows: Sequence[Probe]) -> str:
  probe = next(row for row in rows if row.target == TASK)
  return (
    f"Linear probes and probes with one hidden layer are fitted on {probe.fitted:,} timesteps and"
    f" tested on {probe.tested:,} of {probe.episodes:,} other episodes and documents, equally many"
    f" of each of {probe.classes} tasks. A state is that at the separator, from which the first"
    " action is predicted, or the mean over the observation and the separator. Documents have no"
    " timestep: there it is the last token of a piece or the mean over it. Raw tokens are without"
    " their order: how often each id and kind occurs in the step, and the mean patch. Intervals"
    " are bootstraps over test episodes, or the exact bound if all are correct."
  )


def _depth_text(rows: Sequence[Probe]) -> str:
  sentences = []
  for row in jumps(rows):
    if row["target"] != TASK:
      continue

    # The other keys of the row are not depths.
    depths = [key for key in row if key.startswith(("raw", "embed", "layer"))]
    values = ", ".join(f"{name} {row[name]:.1%}" for name in depths)
    state = {LAST: "the separator", STEP: "the mean of the step"}[row["state"]]
    sentences.append(f"from {state} {values} (largest gain at {row['largest gain at']})")

  majority = next(row.majority for row in rows if row.target == TASK)
  return (
    f"Accuracy of linear probes for the task: {'; '.join(sentences)}. Always naming the same task"
    f" would give {majority:.1%}."
  )


def _ablated_text(rows: Sequence[AblatedProbe]) -> str:
  """Returns the removed variance and the accuracy at the separator, means over the layers."""
  sentences = []
  for kind, number in dict.fromkeys((row.kind, row.directions) for row in rows):
    selected = [
      row for row in rows if (row.kind, row.directions, row.target) == (kind, number, TASK)
    ]
    at_separator = [row for row in selected if row.state == LAST]
    accuracy = np.mean([row.accuracy for row in at_separator])
    if kind == NOTHING:
      sentences.append(f"nothing: accuracy {accuracy:.1%}")
      continue

    separator_variance = np.mean([row.variance for row in at_separator])
    step_variance = np.mean([row.variance for row in selected if row.state == STEP])
    sentences.append(
      f"{number} of {kind}: {separator_variance:.0%} and {step_variance:.0%} of the variance,"
      f" accuracy {accuracy:.1%}"
    )

  return (
    "Share of the variance that the removed directions hold, at the separator and of the step's"
    " mean, and accuracy of a linear probe, refitted without them, for the task from the"
    f" separator; means over the layers: {'; '.join(sentences)}. The directions of tasks hold most"
    " of the variance, so the losses above do not show that the name of the task is what the"
    " network needs from them."
  )


def _removal_text(table: Sequence[Mapping[str, Any]]) -> str:
  sentences = []
  for row in table:
    if row["tasks"] != ALL:
      continue
    score = f"{row['score']:.1f} [{row['low']:.1f}, {row['high']:.1f}]"
    if not row["directions"]:
      sentences.append(f"nothing: {score}")
      continue

    sentence = f"{row['directions']} of {row['removed']}: {score}"
    if row["lost"] is not None:
      sentence += f", lost {row['lost']:.1f} [{row['lost_low']:.1f}, {row['lost_high']:.1f}]"
    sentences.append(sentence)

  return (
    "Intervention: while the network acts, the states after every block named in the config are"
    " made equal along some directions. These are the ones that span the tasks' means (task), the"
    " same number of the most variance within tasks (within), or the same number of random ones."
    f" Mean score over domains: {'; '.join(sentences)}."
  )
