"""Points of a scaling law: one row a run, read from what the run left in its folder, kept as JSON lines."""

import dataclasses
import json
import pathlib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from gato_jax import baselines, files, results
from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig, abstract_params, count_parameters
from gato_jax.report import metrics as training
from gato_jax.report import scores as scoring

POOLED = "all"  # the loss over all targets, beside those of the domains


@dataclasses.dataclass(frozen=True)
class Point:
  """One finished run.

  Attributes:
    name: of the run. width, layers: of its network.
    parameters: all of them. parameters_without_embeddings: less the tables that are looked up: of tokens and positions.
    tokens: positions trained on, padding included. steps, batch_size: of the run.
    flops: of training, counted by gato_jax/model/flops.py.
    loss, losses: nats a target on held-out episodes and documents at the end, pooled and by domain.
    target_tokens: that the held-out loss is a mean over.
    train_loss: mean over the last tenth of the steps.
    learning_rate: the peak. seed: of parameters and data order.
    score: mean over domains of the mean over tasks of the normalised score, % of the expert; None: not played.
    score_low, score_high: its 95 % interval over evaluation episodes. score_episodes: a task, at least.
    seconds: of training, waiting for data included. workdir: the run's folder.
  """

  name: str
  width: int
  layers: int
  parameters: int
  parameters_without_embeddings: int
  tokens: int
  steps: int
  batch_size: int
  flops: float
  loss: float
  losses: dict[str, float]
  target_tokens: int
  train_loss: float
  learning_rate: float
  seed: int
  score: float | None
  seconds: float
  workdir: str
  score_low: float | None = None
  score_high: float | None = None
  score_episodes: int = 0

  def loss_of(self, domain: str) -> float | None:
    """Of a domain or POOLED; None where it has no held-out targets."""
    return self.loss if domain == POOLED else self.losses.get(domain)


def of_run(workdir: pathlib.Path, steps: int) -> Point | None:
  """The point of a run of so many steps; None while it is not finished.

  Raises:
    GatoError: a file of the run cannot be read.
  """
  workdir = pathlib.Path(workdir)
  measured, config = _json(workdir / "held_out.json"), _json(workdir / "config.json")
  if measured is None or config is None or measured["step"] != steps:
    return None
  rows = training.read(workdir / "metrics.jsonl")
  if not rows or rows[-1]["step"] != steps:
    return None
  model_config = GatoConfig.from_json(config["model"])
  parameters, tables = count(model_config)
  domains = {key.removeprefix("loss/"): value for key, value in measured.items() if key.startswith("loss/")}
  return Point(
    name=workdir.name,
    width=model_config.width,
    layers=model_config.layers,
    parameters=parameters,
    parameters_without_embeddings=parameters - tables,
    tokens=int(rows[-1]["tokens"]),
    steps=steps,
    batch_size=config["train"]["batch_size"],
    flops=float(sum(row["interval_flops"] for row in rows)),
    loss=measured["loss"],
    losses={name: value for name, value in domains.items() if "." not in name},
    target_tokens=measured["target_tokens"],
    train_loss=training.final(rows, "loss"),
    learning_rate=config["optimizer"]["peak_learning_rate"],
    seed=config["train"]["seed"],
    seconds=float(sum(row["interval_seconds"] for row in rows)),
    workdir=str(workdir),
    **_score(workdir),
  )


def count(config: GatoConfig) -> tuple[int, int]:
  """(all parameters, those of tables that are looked up: tokens, patch positions, local positions, the action's)."""
  params = abstract_params(config)
  looked_up = [name for name in params["embedding"] if name == "tokens" or name.endswith(("position", "positions"))]
  tables = {name: params["embedding"][name] for name in looked_up}
  return count_parameters(params), sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tables))


def write(path: pathlib.Path, points: Iterable[Point]) -> None:
  """A line a point, by size and tokens; the file is replaced as a whole."""
  ordered = sorted(points, key=lambda p: (p.parameters, p.tokens, p.seed))
  files.write(path, "".join(json.dumps(dataclasses.asdict(point)) + "\n" for point in ordered))


def read(path: pathlib.Path) -> list[Point]:
  """All points of a file.

  Raises:
    GatoError: there is no such file, or a line is no point.
  """
  if not path.exists():
    raise GatoError(f"no points in {path}; run python -m launch sweep, or give --points=FILE")
  found = []
  for number, line in enumerate(path.read_text().splitlines(), 1):
    try:
      found.append(Point(**json.loads(line)))
    except (json.JSONDecodeError, TypeError) as e:
      raise GatoError(f"{path}:{number}: not a point of a sweep ({e}); delete the line and run the sweep again") from e
  return found


def _json(path: pathlib.Path) -> dict | None:
  if not path.exists():
    return None
  try:
    return json.loads(path.read_text())
  except json.JSONDecodeError as e:
    raise GatoError(f"{path}: not JSON ({e}); delete it and train again") from e


def _score(workdir: pathlib.Path) -> dict[str, Any]:
  """The fields of a Point that are about playing."""
  rows = list(results.read(workdir / "results.jsonl"))
  if not any(row.actor == "gato" for row in rows):
    return {"score": None}
  scores = scoring.task_scores(rows, "gato", None, baselines.read(workdir))
  low, high = scoring.intervals(scores)["mean_over_domains"]
  return {
    "score": scoring.mean_over_domains(scores),
    "score_low": float(low),
    "score_high": float(high),
    "score_episodes": min(score.episodes for score in scores),
  }
