"""Finds directions of the residual stream that tell tasks apart, for ActConfig.remove.

In each layer, the centred class means of both states of a step ("last" and "step") span the
subspace in which tasks differ linearly. The first k principal directions of that span are removed.
As controls, the same number of directions of the largest variance WITHIN tasks, orthogonal to the
whole span, and the same number of random directions.

Legend: S states, T tasks, N samples, K directions, D width.
"""

import pathlib
from collections.abc import Sequence

import numpy as np

from experiments.analysis.interpret import probes, states
from experiments.analysis.interpret.config import InterpretConfig
from experiments.analysis.interpret.rows import (
  DOMAIN,
  NOTHING,
  OF_TASKS,
  RANDOM,
  REMOVED,
  TASK,
  WITHIN_DOMAIN,
  WITHIN_TASKS,
  AblatedProbe,
)
from experiments.analysis.interpret.samples import Sample
from gato_jax import progress
from gato_jax.errors import GatoError
from gato_jax.model import removal

# Singular values below this share of the largest one are rounding errors.
_RANK_TOLERANCE = 1e-5


def path(directory: pathlib.Path, kind: str, number: int) -> pathlib.Path:
  """Returns the file of `number` directions of one kind."""
  return directory / "directions" / f"{kind}_{number}.npz"


def find(
  drawn: Sequence[Sample], states_SxNxD: np.ndarray, number: int, seed: int
) -> dict[str, removal.Removal]:
  """Returns kind -> `number` orthonormal directions of one layer.

  Args:
    drawn: The samples, [N].
    states_SxNxD: Their states in one layer.
    number: Directions of each kind.
    seed: Of the random directions.

  Raises:
    GatoError: If the tasks' means span fewer dimensions, or the layer has too few others.
  """
  tasks = np.array([sample.task for sample in drawn])
  names, members = np.unique(tasks, return_inverse=True)
  means_SxTxD = np.stack([states_SxNxD[:, tasks == name].mean(1) for name in names], axis=1)
  width = means_SxTxD.shape[-1]

  centred = (means_SxTxD - means_SxTxD.mean(1, keepdims=True)).reshape(-1, width)
  _, singular_values, basis = np.linalg.svd(centred, full_matrices=False)
  span = basis[singular_values > _RANK_TOLERANCE * singular_values[0]]

  if number > len(span) or number + len(span) > width:
    raise GatoError(
      f"interpret.directions: {number} directions asked for, the means of {len(names)} tasks span"
      f" {len(span)} of {width} dimensions; ask for {min(len(span), width - len(span))} at most"
    )

  # Variation within tasks, without what lies in the span of the means.
  residual = (states_SxNxD - means_SxTxD[:, members]).reshape(-1, width)
  residual -= residual @ span.T @ span
  within_tasks = np.linalg.svd(residual, full_matrices=False)[2][:number]

  random = np.random.default_rng(seed)
  orthonormal, _ = np.linalg.qr(random.normal(size=(width, number)))
  directions = {OF_TASKS: span[:number], WITHIN_TASKS: within_tasks, RANDOM: orthonormal.T}

  # Along a removed direction, every state gets the coordinate of the mean of all tasks.
  centre = means_SxTxD.mean((0, 1))
  return {
    kind: removal.Removal(
      directions_KxD.astype(np.float32), (directions_KxD @ centre).astype(np.float32)
    )
    for kind, directions_KxD in directions.items()
  }


def run(
  drawn: Sequence[Sample],
  residual: np.ndarray,
  directory: pathlib.Path,
  config: InterpretConfig,
) -> list[AblatedProbe]:
  """Writes the files of directions and returns linear probes refitted without them.

  Directions are found on the training samples.

  Args:
    drawn: Samples of tasks that are played.
    residual: Their states, [layers + 1, S, N, D], of states.pooled.
    directory: Of the files.
    config: The settings.
  """
  layers = config.after or range(1, len(residual))
  unknown = [layer for layer in layers if not 1 <= layer < len(residual)]
  if unknown:
    raise GatoError(f"interpret.after: no layer {unknown[0]}, they are 1 to {len(residual) - 1}")

  test = np.array([sample.test for sample in drawn])
  train_samples = [sample for sample in drawn if not sample.test]
  jobs: list[tuple[int, str, removal.Removal | None]] = [(layer, NOTHING, None) for layer in layers]
  for number in config.directions:
    by_layer = {
      layer: find(train_samples, residual[layer][:, ~test], number, seed=config.seed + layer)
      for layer in layers
    }
    for kind in REMOVED:
      of_kind = {layer: kinds[kind] for layer, kinds in by_layer.items()}
      removal.write(path(directory, kind, number), of_kind)
    jobs += [(layer, kind, kinds[kind]) for layer, kinds in by_layer.items() for kind in REMOVED]

  rows = []
  for layer, kind, removed in progress.Bar(jobs, desc="directions", unit="removal"):
    rows += _probe_without(drawn, residual[layer], layer, kind, removed, config)
  return rows


def _probe_without(
  drawn: Sequence[Sample],
  states_SxNxD: np.ndarray,
  layer: int,
  kind: str,
  removed: removal.Removal | None,
  config: InterpretConfig,
) -> list[AblatedProbe]:
  """Returns a linear probe for each state and target, fitted without the removed directions."""
  remaining, number = states_SxNxD, 0
  if removed is not None:
    # Annotated for JAX, but without a program to compile it computes in NumPy, as here.
    remaining = np.asarray(removed.take_out(states_SxNxD))  # type: ignore[arg-type]
    number = len(removed.directions)

  removed_variance = {
    name: 1 - float(remaining[state].var(0).sum() / states_SxNxD[state].var(0).sum())
    for state, name in enumerate(states.poolings(()))
  }

  specs = [
    probes.ProbeSpec(target, state, layer=0)
    for target in (DOMAIN, TASK)
    for state in range(len(states_SxNxD))
  ]
  rows = []
  # A layer axis of length 1, to which layer=0 above refers.
  for probe in probes.run(specs, drawn, remaining[None], config=config):
    if probe.target == WITHIN_DOMAIN:
      continue
    rows.append(
      AblatedProbe(
        layer=layer,
        kind=kind,
        directions=number,
        state=probe.state,
        target=probe.target,
        variance=removed_variance[probe.state],
        accuracy=probe.accuracy,
        low=probe.low,
        high=probe.high,
        majority=probe.majority,
      )
    )
  return rows
