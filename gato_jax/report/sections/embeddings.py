"""Where the first layer looks in a picture, and how the last layer's states lie, those of tasks that never trained too.

One run that is looked at; its `interpret` writes the parts "attention" and "map".
"""

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import numpy as np

from gato_jax import results
from gato_jax.errors import GatoError
from gato_jax.interpret import rows as files
from gato_jax.interpret.rows import STATES, Head, Neighbours, Point
from gato_jax.report import interpret_figures as figures
from gato_jax.report import study_page


def section(study: study_page.Study, out: pathlib.Path) -> study_page.Section:
  """Two figures and their numbers; GatoError before the run is finished."""
  folders = [run.folder / files.FOLDER for run in study.runs]
  folder = next((one for one in folders if (one / files.FACTS).exists()), None)
  if folder is None:
    raise GatoError(f"{folders[0]} holds nothing; run python -m experiments.study --config=...")
  facts = json.loads((folder / files.FACTS).read_text())
  text, drawn, tables = [], [], {}
  points = list(results.read(folder / files.MAP, Point))
  if points:
    figures.states(points, out / "map.png")
    drawn.append((out / "map.png", "t-SNE of the last layer's mean state of a timestep; black edges: never trained."))
    neighbours = list(results.read(folder / files.NEIGHBOURS, Neighbours))
    text.append(_of_map(points, neighbours, facts["config"]))
    tables["neighbours"] = [dataclasses.asdict(row) for row in neighbours]
  heads = list(results.read(folder / files.HEADS, Head))
  if heads:
    with np.load(folder / files.FRAMES) as pictures:
      figures.frames(heads, dict(pictures), out / "attention.png")
    caption = "A frame, and the first layer's heads' weights over it, from dark (none) to bright (the head's largest)."
    drawn.append((out / "attention.png", caption))
    text.append(_of_attention(heads))
    tables["heads"] = [dataclasses.asdict(row) for row in heads]
  return study_page.Section("What the layers hold and where they look", text, drawn, tables)


def _of_map(points: Sequence[Point], neighbours: Sequence[Neighbours], config: dict) -> str:
  everything = next(row for row in neighbours if (row.space, row.task) == (STATES, "all"))
  unseen = [row for row in neighbours if row.space == STATES and row.trained is False]
  said = "".join(
    f" {row.task}, never trained: {row.next_domain:.0%} of its neighbours among other tasks are of its domain (at"
    f" random {row.next_chance:.0%}), most of {row.nearest}."
    for row in unseen
  )
  return (
    f"{len(points)} timesteps, {config['map_samples']} a task: the mean of the last layer's states over the observation"
    f" and the separator, standardised; t-SNE with perplexity {config['perplexity']:g} and seed {config['seed']}, begun"
    f" from the principal components. In the states' own space, of the {config['neighbours']} nearest neighbours of"
    f" other episodes {everything.same_task:.1%} are of the same task (at random {everything.task_chance:.1%}) and"
    f" {everything.same_domain:.1%} of the same domain ({everything.domain_chance:.1%}); mean silhouette"
    f" {everything.silhouette_task:.2f} by task, {everything.silhouette_domain:.2f} by domain.{said}"
  )


def _of_attention(heads: Sequence[Head]) -> str:
  tasks = list(dict.fromkeys(row.task for row in heads))
  said = []
  for task in tasks:
    here = [row for row in heads if row.task == task]
    said.append(
      f"{task}: {np.mean([row.on_patches for row in here]):.0%} on the frame (evenly {here[0].even:.0%}), entropy"
      f" {min(row.entropy for row in here):.2f} to {max(row.entropy for row in here):.2f}"
    )
  return (
    "Attention of the first layer from the last position before the action, or a document's last token, to the patches"
    f" of the frame. Mean over heads and frames, entropy from 0 (one patch) to 1 (all alike): {'; '.join(said)}."
  )
