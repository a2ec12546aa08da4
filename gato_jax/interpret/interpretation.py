"""All parts of an interpretation, in order, and the files that they leave in a folder."""

import dataclasses
import io
import json
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tqdm

from gato_jax import files
from gato_jax.data import episodes
from gato_jax.errors import GatoError
from gato_jax.interpret import attention, directions, neighbours, probes, samples, states
from gato_jax.interpret import rows as tables
from gato_jax.interpret.config import InterpretConfig
from gato_jax.mixture import MixtureConfig
from gato_jax.model import GatoConfig
from gato_jax.tokens import codec


@dataclasses.dataclass(frozen=True)
class Network:
  """A checkpoint, as it is looked at. step: of its training."""

  config: GatoConfig
  params: Any
  text: codec.TextCodec
  step: int


def run(
  network: Network,
  datasets: Mapping[str, episodes.Episodes | episodes.Documents],
  trained: Sequence[str],
  mixture: MixtureConfig,
  config: InterpretConfig,
  out: pathlib.Path,
) -> None:
  """Writes the files of config.parts into `out`; those that were there are replaced.

  Args:
    datasets: "domain.task" -> its data. trained: those of them that the network was trained on.

  Raises:
    GatoError: too little data, or fewer directions than asked for.
  """
  if len(set(trained) & datasets.keys()) < 2:
    raise GatoError("interpret: probes, directions and maps compare tasks, and fewer than two train; look at a mixture")
  found = []
  for data in tqdm.tqdm(datasets.values(), desc="samples", unit="task", dynamic_ncols=True):
    found += samples.draw(data, network.text, mixture, network.config.max_local_positions, config)
  with tqdm.tqdm(total=len(found), desc="states", unit="sample", dynamic_ncols=True) as bar:
    residual = states.pooled(network.config, network.params, found, config.tokens, bar.update)
  known = np.array([one.task in trained for one in found])
  if "probes" in config.parts:
    fits = probes.plan(config, layers=len(residual) - 1)
    bar = tqdm.tqdm(fits, desc="probes", unit="probe", dynamic_ncols=True)
    _write(out / tables.PROBES, probes.run(bar, *_of(found, residual, known), config))
  if "directions" in config.parts:
    played = known & np.array([isinstance(datasets[one.task], episodes.Episodes) for one in found])
    if len({one.task for one in _of(found, residual, played)[0]}) < 2:
      raise GatoError("interpret.parts: directions tell tasks that are played, and fewer than two of them train")
    _write(out / tables.WITHOUT, directions.run(*_of(found, residual, played), out, config))
  if "attention" in config.parts:
    rows, arrays = attention.look(network.config, network.params, attention.choose(found, config.frames))
    _write(out / tables.HEADS, rows)
    archive = io.BytesIO()
    np.savez_compressed(archive, **arrays)
    files.write(out / tables.FRAMES, archive.getvalue())
  if "map" in config.parts:
    chosen = neighbours.choose(found, config.map_samples)
    some, last = [found[i] for i in chosen], residual[-1, states.poolings(()).index(tables.STEP), chosen]
    print(f"map: t-SNE of {len(some)} samples", flush=True)
    places = neighbours.project(last, config)
    spaces = zip(tables.SPACES, (last, places), strict=True)
    _write(out / tables.NEIGHBOURS, [
      row for space, at in spaces for row in neighbours.rows(some, trained, space, at, config.neighbours)
    ])  # fmt: skip
    _write(out / tables.MAP, [
      tables.Point(one.task, one.task in trained, one.episode, float(x), float(y))
      for one, (x, y) in zip(some, places, strict=True)
    ])  # fmt: skip
  facts = {
    "step": network.step,
    "tasks": {name: sum(one.task == name for one in found) for name in datasets},
    "trained": sorted(set(trained) & set(datasets)),
    "mean tokens of a state": {
      name: float(np.mean([len(states.places(one, config.tokens)[index]) for one in found]))
      for index, name in enumerate(states.poolings(config.tokens))
    },
    "config": dataclasses.asdict(config),
  }
  files.write_json(out / tables.FACTS, facts)


def _of(
  found: Sequence[samples.Sample], residual: np.ndarray, which: np.ndarray
) -> tuple[list[samples.Sample], np.ndarray]:
  return [found[i] for i in np.flatnonzero(which)], residual[:, :, which]


def _write(path: pathlib.Path, rows: Iterable[Any]) -> None:
  """All of a file at once: an interrupted part has none."""
  files.write(path, "".join(json.dumps(dataclasses.asdict(row)) + "\n" for row in rows))
