"""Directions of the residual stream that tell the task, and others to compare with, for ActConfig.remove.

Of each layer the class means of both states of a step ("last" and "step"), centred, span what tells the tasks linearly;
the first k principal directions of that span are taken. Against them stand as many directions of the largest variance
WITHIN tasks, orthogonal to the whole span, and as many random ones.

Legend: T tasks, N samples, k directions, d width.
"""

import pathlib
from collections.abc import Sequence

import numpy as np
import tqdm

from gato_jax.errors import GatoError
from gato_jax.interpret import probes, states
from gato_jax.interpret.config import InterpretConfig
from gato_jax.interpret.rows import (
  DOMAIN,
  NOTHING,
  OF_TASKS,
  RANDOM,
  REMOVED,
  TASK,
  WITHIN_DOMAIN,
  WITHIN_TASKS,
  Without,
)
from gato_jax.interpret.samples import Sample
from gato_jax.model import removal


def path(folder: pathlib.Path, kind: str, number: int) -> pathlib.Path:
  return folder / "directions" / f"{kind}_{number}.npz"


def find(found: Sequence[Sample], of_layer: np.ndarray, number: int, seed: int) -> dict[str, removal.Removal]:
  """kind -> `number` orthonormal directions.

  Args:
    of_layer: [states, N, d] of one layer.

  Raises:
    GatoError: the tasks' means span fewer dimensions, or the layer has not as many left.
  """
  tasks = np.array([one.task for one in found])
  names, members = np.unique(tasks, return_inverse=True)
  means = np.stack([of_layer[:, tasks == name].mean(1) for name in names], axis=1)  # [states, T, d]
  centred = (means - means.mean(1, keepdims=True)).reshape(-1, means.shape[-1])
  _, sizes, basis = np.linalg.svd(centred, full_matrices=False)
  span = basis[sizes > 1e-5 * sizes[0]]
  residual = (of_layer - means[:, members]).reshape(-1, means.shape[-1])
  residual -= residual @ span.T @ span
  width = means.shape[-1]
  if number > len(span) or number + len(span) > width:
    raise GatoError(
      f"interpret.directions: {number} directions asked for, the means of {len(names)} tasks span {len(span)} of"
      f" {width} dimensions; ask for {min(len(span), width - len(span))} at most"
    )
  random = np.random.default_rng(seed)
  chosen = {
    OF_TASKS: span[:number],
    WITHIN_TASKS: np.linalg.svd(residual, full_matrices=False)[2][:number],
    RANDOM: np.linalg.qr(random.normal(size=(width, number)))[0].T,
  }
  centre = means.mean((0, 1))
  return {kind: removal.Removal(d.astype(np.float32), (d @ centre).astype(np.float32)) for kind, d in chosen.items()}


def run(found: Sequence[Sample], residual: np.ndarray, folder: pathlib.Path, config: InterpretConfig) -> list[Without]:
  """Writes the files of directions, found on the samples that do not test, and returns what is told without them.

  Args:
    found: of the tasks that are played. residual: their [layers + 1, states, N, d], of states.pooled.
  """
  test = np.array([one.test for one in found])
  fit_samples = [one for one in found if not one.test]
  layers = config.after or range(1, len(residual))
  unknown = [layer for layer in layers if not 1 <= layer < len(residual)]
  if unknown:
    raise GatoError(f"interpret.after: no layer {unknown[0]}, they are 1 to {len(residual) - 1}")
  asked: list[tuple[int, str, removal.Removal | None]] = [(layer, NOTHING, None) for layer in layers]
  for number in config.directions:
    by_layer = {layer: find(fit_samples, residual[layer][:, ~test], number, config.seed + layer) for layer in layers}
    for kind in REMOVED:
      removal.write(path(folder, kind, number), {layer: kinds[kind] for layer, kinds in by_layer.items()})
    asked += [(layer, kind, kinds[kind]) for layer, kinds in by_layer.items() for kind in REMOVED]
  rows = []
  for layer, kind, removed in tqdm.tqdm(asked, desc="directions", unit="removal", dynamic_ncols=True):
    rows += _left(found, residual[layer], layer, kind, removed, config)
  return rows


def _left(
  found: Sequence[Sample],
  of_layer: np.ndarray,
  layer: int,
  kind: str,
  removed: removal.Removal | None,
  config: InterpretConfig,
) -> list[Without]:
  kept = np.asarray(removed.take_out(of_layer)) if removed else of_layer
  variance = [1 - float(kept[s].var(0).sum() / of_layer[s].var(0).sum()) for s in range(len(of_layer))]
  number = len(removed.directions) if removed else 0
  fits = [probes.Fit(target, s, 0) for target in (DOMAIN, TASK) for s in range(len(of_layer))]
  return [
    Without(
      layer, kind, number, row.state, row.target, variance[states.poolings(()).index(row.state)],
      row.accuracy, row.low, row.high, row.majority,
    )
    for row in probes.run(fits, found, kept[None], config)
    if row.target != WITHIN_DOMAIN
  ]  # fmt: skip
