"""Points of a scaling law: one row per run, read from the run's directory, kept as JSON lines."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import numpy as np

from experiments.analysis import run_metrics
from experiments.analysis.scaling import family
from experiments.analysis.scaling.batches import BatchContent
from experiments.analysis.scaling.runs import SweepRun
from gato_jax.env import results
from gato_jax.errors import GatoError
from gato_jax.evaluate import baselines
from gato_jax.evaluate import scores as scoring
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.storage import files, paths
from gato_jax.train import metrics, provenance

POOLED = "all"  # name of the loss over all targets, beside those of the domains


@dataclasses.dataclass(frozen=True)
class ScalingPoint:
  """One finished run of a sweep.

  Attributes:
    name: Of the run.
    family: family.NAME, or the name of one of the paper's networks.
    width: Of the network.
    layers: Of the network.
    parameters: All parameters of the network.
    parameters_without_embeddings: Parameters without the tables that are looked up, those of
      tokens and of positions.
    tokens: Positions trained on, padding included.
    unique_tokens: Those of them that were seen for the first time.
    epochs: How often the run has seen what it sees, a mean over its tokens.
    steps: Training steps.
    batch_size: Rows per step.
    budget: FLOPs of the budget that the run belongs to; 0 for none.
    flops: Of training, counted by gato_jax/model/flops.py.
    loss: Nats per target on the validation split after the last step, over all domains.
    losses: The same by domain, and by modality where it has several domains.
    target_tokens: Targets that the validation loss is a mean over.
    train_loss: Mean training loss over the last tenth of the steps.
    schedule: Of the learning rate.
    learning_rate: Peak learning rate.
    rate: Factor of the sweep's peak learning rate.
    started: Time of the first start, UTC, ISO 8601.
    seed: Of the parameters and of the order of the data.
    score: Mean over domains of the mean over tasks of the normalised score, in per cent of the
      expert. None if the run was not played.
    seconds: Of training, waiting for data included, without the part of a run that it branched
      from.
    trained_flops: FLOPs of these seconds.
    workdir: The run's directory.
    score_low: Lower end of the score's 95 % interval over evaluation episodes.
    score_high: Upper end of that interval.
    score_episodes: Evaluation episodes of the task that has the fewest.
  """

  name: str
  family: str
  width: int
  layers: int
  parameters: int
  parameters_without_embeddings: int
  tokens: int
  unique_tokens: float
  epochs: float
  steps: int
  batch_size: int
  budget: float
  flops: float
  loss: float
  losses: dict[str, float]
  target_tokens: int
  train_loss: float
  schedule: str
  learning_rate: float
  rate: float
  started: str
  seed: int
  score: float | None
  seconds: float
  trained_flops: float
  workdir: str
  score_low: float | None = None
  score_high: float | None = None
  score_episodes: int = 0

  def loss_of(self, domain: str) -> float | None:
    """Returns the loss of a domain or of POOLED, None if it has no validation targets."""
    return self.loss if domain == POOLED else self.losses.get(domain)


def of_run(workdir: pathlib.Path, run: SweepRun, content: BatchContent) -> ScalingPoint | None:
  """Returns the point of a run, None while it is not finished.

  Args:
    workdir: The run's directory.
    run: The run of the sweep.
    content: Of the sweep's batches.

  Raises:
    GatoError: If a file of the run cannot be read.
  """
  workdir = paths.path(workdir)
  steps = run.steps(content.tokens)
  config_path = workdir / "config.json"

  # A run that was trained further has newer metrics than validation losses, or the reverse.
  validation = metrics.read_validation(workdir)
  if not validation or not config_path.exists() or validation["step"] != steps:
    return None
  rows = run_metrics.read(workdir / "metrics.jsonl")
  if not rows or rows[-1]["step"] != steps:
    return None

  config = files.read_json(config_path, "delete it and train again")
  model_config = GatoConfig.from_json(config["model"])
  parameters, tables = count(model_config)

  return ScalingPoint(
    name=workdir.name,
    family=run.variant or family.NAME,
    width=model_config.width,
    layers=model_config.layers,
    parameters=parameters,
    parameters_without_embeddings=parameters - tables,
    tokens=int(rows[-1]["tokens"]),
    unique_tokens=content.unique_tokens(steps),
    epochs=content.epochs(steps),
    steps=steps,
    batch_size=config["train"]["batch_size"],
    budget=run.budget,
    flops=_flops(rows),
    loss=validation["loss"],
    losses=_losses(validation, content.modalities),
    target_tokens=validation["target_tokens"],
    train_loss=run_metrics.final(rows, "loss"),
    schedule=config["optimizer"]["schedule"],
    learning_rate=config["optimizer"]["peak_learning_rate"],
    rate=run.rate,
    started=next((start.time for start in provenance.read(workdir)), ""),
    seed=config["train"]["seed"],
    seconds=float(sum(row["interval_seconds"] for row in rows)),
    trained_flops=float(sum(row["interval_flops"] for row in rows)),
    workdir=str(workdir),
    **_score_fields(workdir),
  )


def _losses(validation: Mapping[str, float], modalities: Mapping[str, str]) -> dict[str, float]:
  """Returns the losses of domains, and of modalities that have several of them.

  Args:
    validation: Content of validation.json.
    modalities: Domain -> its modality.
  """
  # A dot marks the loss of a single task, "loss/<domain>.<task>".
  losses = {
    key.removeprefix("loss/"): value
    for key, value in validation.items()
    if key.startswith("loss/") and "." not in key
  }

  by_modality = dict(losses)
  for modality in sorted(set(modalities.values())):
    members = [name for name in losses if modalities.get(name) == modality]
    if len(members) > 1:
      targets = [validation[f"targets/{name}"] for name in members]
      values = [losses[name] for name in members]
      by_modality[modality] = float(np.average(values, weights=targets))
  return by_modality


def _flops(rows: run_metrics.Metrics) -> float:
  """Returns the FLOPs of a run, as its last row counts them; rows on the way may be missing."""
  # Runs of older versions have those of each interval alone.
  if "flops" in rows[-1]:
    return float(rows[-1]["flops"])
  return float(sum(row["interval_flops"] for row in rows))


@functools.cache
def count(config: GatoConfig) -> tuple[int, int]:
  """Returns (all parameters, parameters of embedding tables).

  The tables are those of tokens, of patch positions, of local positions and of the action's
  position.
  """
  params = abstract_params(config)
  tables = {
    name: table
    for name, table in params["embedding"].items()
    if name == "tokens" or name.endswith(("position", "positions"))
  }

  in_tables = sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tables))
  return count_parameters(params), in_tables


def write(path: pathlib.Path, points: Iterable[ScalingPoint]) -> None:
  """Writes one line per point, ordered by size and tokens, and replaces the file atomically."""
  ordered = sorted(points, key=lambda point: (point.parameters, point.tokens, point.seed))
  files.write(path, "".join(json.dumps(dataclasses.asdict(point)) + "\n" for point in ordered))


def read(path: pathlib.Path) -> list[ScalingPoint]:
  """Returns all points of a file.

  Raises:
    GatoError: If the file does not exist or a line is not a point.
  """
  if not path.exists():
    raise GatoError(f"no points in {path}; run python -m launch sweep, or give --points=FILE")

  points = []
  for number, line in enumerate(path.read_text().splitlines(), 1):
    try:
      points.append(ScalingPoint(**json.loads(line)))
    except (json.JSONDecodeError, TypeError) as e:
      raise GatoError(
        f"{path}:{number}: not a point of a sweep ({e}); delete the line and run the sweep again"
      ) from e

  return points


def _score_fields(workdir: pathlib.Path) -> dict[str, Any]:
  """Returns the fields of a ScalingPoint that come from playing."""
  rows = list(results.read(workdir / "results.jsonl"))
  if not any(row.actor == results.POLICY for row in rows):
    return {"score": None}

  scores = scoring.task_scores(rows, results.POLICY, baselines=baselines.read(workdir))
  low, high = scoring.intervals(scores)["mean_over_domains"]
  return {
    "score": scoring.mean_over_domains(scores),
    "score_low": float(low),
    "score_high": float(high),
    "score_episodes": min(score.episodes for score in scores),
  }
