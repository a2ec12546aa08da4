"""Attention of the first layer to images, and a map of the last layer's states.

The map includes tasks that the network was not trained on. One run of the study is interpreted;
its `interpret` writes the parts "attention" and "map".
"""

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from experiments.analysis.interpret import rows
from experiments.analysis.interpret.rows import Head, MapPoint, Neighbours
from experiments.analysis.report import interpret_figures, study_page
from gato_jax.env import results
from gato_jax.errors import GatoError


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Returns both figures and their numbers.

  Raises:
    GatoError: If the run is not finished.
  """
  directories = [run.directory / rows.FOLDER for run in study.runs]
  # The facts are written last, so a directory with them is complete.
  finished = [directory for directory in directories if (directory / rows.FACTS).exists()]
  if not finished:
    raise GatoError(f"{directories[0]} holds nothing; run python -m experiments.study --config=...")

  directory = finished[0]
  facts = json.loads((directory / rows.FACTS).read_text())

  # The config of `interpret` may leave out a part.
  text, drawn = [], []
  tables: dict[str, list[dict[str, Any]]] = {}

  points = list(results.read(directory / rows.MAP, MapPoint))
  if points:
    png = out / "map.png"
    interpret_figures.states(points, png)
    caption = "t-SNE of the last layer's mean state of a timestep; black edges: not trained on."
    drawn.append((png, caption))

    neighbours = list(results.read(directory / rows.NEIGHBOURS, Neighbours))
    text.append(_map_text(points, neighbours, facts["config"]))
    tables["neighbours"] = [dataclasses.asdict(row) for row in neighbours]

  heads = list(results.read(directory / rows.HEADS, Head))
  if heads:
    png = out / "attention.png"
    with np.load(directory / rows.FRAMES) as arrays:
      interpret_figures.attention(heads, dict(arrays), png)
    caption = (
      "An image, and the weights of the first layer's heads over it, from dark (none) to bright"
      " (the head's largest)."
    )
    drawn.append((png, caption))

    text.append(_attention_text(heads))
    tables["heads"] = [dataclasses.asdict(row) for row in heads]

  title = "The last layer's states and the first layer's attention"
  return study_page.Section(title, text, figures=drawn, tables=tables)


def _map_text(
  points: Sequence[MapPoint], neighbours: Sequence[Neighbours], config: Mapping[str, Any]
) -> str:
  of_states = [row for row in neighbours if row.space == rows.STATES]
  everything = next(row for row in of_states if row.task == "all")
  unseen = "".join(
    f" {row.task}, which was not trained on: {row.next_domain:.0%} of its neighbours among other"
    f" tasks are of its domain (at random {row.next_chance:.0%}), most of them of {row.nearest}."
    for row in of_states
    if row.trained is False
  )
  return (
    f"{len(points)} timesteps, {config['map_samples']} per task: the mean of the last layer's"
    " states over the observation and the separator, standardised; t-SNE with perplexity"
    f" {config['perplexity']:g} and seed {config['seed']}, initialised with the principal"
    f" components. In the space of the states, of the {config['neighbours']} nearest neighbours"
    f" of other episodes {everything.same_task:.1%} are of the same task (at random"
    f" {everything.task_chance:.1%}) and {everything.same_domain:.1%} of the same domain"
    f" ({everything.domain_chance:.1%}); mean silhouette {everything.silhouette_task:.2f} by task,"
    f" {everything.silhouette_domain:.2f} by domain.{unseen}"
  )


def _attention_text(heads: Sequence[Head]) -> str:
  sentences = []
  for task in dict.fromkeys(row.task for row in heads):
    of_task = [row for row in heads if row.task == task]
    # `even` differs little between the images of a task, so the first one's is shown.
    on_image = np.mean([row.on_patches for row in of_task])
    entropies = [row.entropy for row in of_task]
    sentences.append(
      f"{task}: {on_image:.0%} on the image (with equal weights {of_task[0].even:.0%}), entropy"
      f" {min(entropies):.2f} to {max(entropies):.2f}"
    )

  return (
    "Attention of the first layer from the last position before the action, or from a document's"
    " last token, to the patches of the image. Means over heads and images; entropy from 0 (one"
    f" patch) to 1 (equal weights): {'; '.join(sentences)}."
  )
