"""Runs all parts of an interpretation and writes their files into a directory."""

import dataclasses
import io
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from experiments.analysis.interpret import (
  attention,
  directions,
  neighbours,
  probes,
  rows,
  samples,
  states,
)
from experiments.analysis.interpret.config import InterpretConfig
from gato_jax import progress
from gato_jax.data import prepared
from gato_jax.data.mixture import MixtureConfig
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig
from gato_jax.storage import files
from gato_jax.tokens import codec


@dataclasses.dataclass(frozen=True)
class Network:
  """A checkpoint to interpret.

  Attributes:
    config: Of the network.
    params: Of the network.
    text: The tokenizer it was trained with.
    step: Training step of the checkpoint.
  """

  config: GatoConfig
  params: Any
  text: codec.TextCodec
  step: int


def run(
  network: Network,
  datasets: Mapping[str, prepared.PreparedEpisodes | prepared.PreparedDocuments],
  trained: Sequence[str],
  mixture: MixtureConfig,
  config: InterpretConfig,
  out: pathlib.Path,
) -> None:
  """Writes the files of config.parts into `out`, replacing those of an earlier run.

  Args:
    network: The checkpoint.
    datasets: "domain.task" -> its data.
    trained: The tasks that the network was trained on; others of `datasets` are only looked at.
    mixture: The data settings of the network's training.
    config: The settings.
    out: Directory of the files.

  Raises:
    GatoError: If there is too little data, or fewer directions than requested.
  """
  if len(set(trained) & datasets.keys()) < 2:
    raise GatoError(
      "interpret: probes, directions and maps compare tasks, and fewer than two train; look at a"
      " mixture"
    )

  drawn: list[samples.Sample] = []
  for data in progress.Bar(datasets.values(), desc="samples", unit="task"):
    drawn += samples.draw(data, network.text, mixture, network.config.max_local_positions, config)

  with progress.Bar(total=len(drawn), desc="states", unit="sample") as bar:
    residual = states.pooled(network.config, network.params, drawn, config.tokens, bar.update)

  is_trained = np.array([sample.task in trained for sample in drawn])
  if "probes" in config.parts:
    specs = probes.plan(config, layers=len(residual) - 1)
    specs = progress.Bar(specs, desc="probes", unit="probe")
    _write(out / rows.PROBES, probes.run(specs, *_select(drawn, residual, is_trained), config))

  if "directions" in config.parts:
    is_episode = [isinstance(datasets[sample.task], prepared.PreparedEpisodes) for sample in drawn]
    played, residual_of_played = _select(drawn, residual, is_trained & np.array(is_episode))
    if len({sample.task for sample in played}) < 2:
      raise GatoError(
        "interpret.parts: directions tell tasks that are played, and fewer than two of them train"
      )
    _write(out / rows.WITHOUT, directions.run(played, residual_of_played, out, config))

  if "attention" in config.parts:
    chosen = attention.choose(drawn, config.frames)
    heads, arrays = attention.look(network.config, network.params, chosen)
    _write(out / rows.HEADS, heads)
    archive = io.BytesIO()
    # The stub takes any keyword for allow_pickle.
    np.savez_compressed(archive, **arrays)  # type: ignore[arg-type]
    files.write(out / rows.FRAMES, archive.getvalue())

  if "map" in config.parts:
    _write_map(drawn, residual[-1], trained, config, out)

  mean_tokens = {
    name: float(np.mean([len(states.positions(sample, config.tokens)[index]) for sample in drawn]))
    for index, name in enumerate(states.poolings(config.tokens))
  }
  facts = {
    "step": network.step,
    "tasks": {name: sum(sample.task == name for sample in drawn) for name in datasets},
    "trained": sorted(set(trained) & set(datasets)),
    "mean tokens of a state": mean_tokens,
    "config": dataclasses.asdict(config),
  }
  files.write_json(out / rows.FACTS, facts)


def _write_map(
  drawn: Sequence[samples.Sample],
  last_layer: np.ndarray,
  trained: Sequence[str],
  config: InterpretConfig,
  out: pathlib.Path,
) -> None:
  """Writes the map of the last layer's states, [S, N, D], and the numbers about neighbours."""
  chosen = neighbours.choose(drawn, config.map_samples)
  on_map = [drawn[index] for index in chosen]
  step_states = last_layer[states.poolings(()).index(rows.STEP), chosen]

  print(f"map: t-SNE of {len(on_map)} samples", flush=True)
  coordinates = neighbours.project(step_states, config)

  neighbour_rows: list[rows.Neighbours] = []
  for space, vectors in ((rows.STATES, step_states), (rows.PLANE, coordinates)):
    neighbour_rows += neighbours.rows(on_map, trained, space, vectors, config.neighbours)
  _write(out / rows.NEIGHBOURS, neighbour_rows)

  map_points = []
  for sample, (x, y) in zip(on_map, coordinates, strict=True):
    is_trained = sample.task in trained
    map_points.append(rows.MapPoint(sample.task, is_trained, sample.episode, float(x), float(y)))
  _write(out / rows.MAP, map_points)


def _select(
  drawn: Sequence[samples.Sample], residual: np.ndarray, mask: np.ndarray
) -> tuple[list[samples.Sample], np.ndarray]:
  """Returns the samples, and their states, where the mask [N] is True."""
  return [drawn[index] for index in np.flatnonzero(mask)], residual[:, :, mask]


def _write(path: pathlib.Path, lines: Iterable[Any]) -> None:
  """Writes all rows of a file at once, so that an interrupted part leaves no file."""
  files.write(path, "".join(json.dumps(dataclasses.asdict(line)) + "\n" for line in lines))
