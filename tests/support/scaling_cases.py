"""Points of a sweep that was never run: their losses are those of a law, with noise."""

import dataclasses

import numpy as np

from experiments.analysis.scaling import batches, family, law, points, runs
from gato_jax.model import config as model_config

SYNTHETIC = law.Law(1.0, 60.0, 400.0, 0.35, 0.4)


CONTENT = batches.BatchContent(
  rows=16,
  length=78,
  present_patches=96.0,
  targets=150.0,
  component_tokens={"babyai.GoToObj": 600.0, "text.python_docs": 600.0},
  available_tokens={"babyai.GoToObj": 1_000_000, "text.python_docs": 500_000},
  modalities={"babyai": "control", "text": "text"},
)
BUDGETS = (2e11, 8e11, 3e12)


def make_point(run, loss, **changes):
  config = dataclasses.replace(model_config.VARIANTS["tiny"], **run.network)
  parameters, tables = points.count(config)
  made = points.ScalingPoint(
    name=run.name,
    family=run.variant or family.NAME,
    width=config.width,
    layers=config.layers,
    parameters=parameters,
    parameters_without_embeddings=parameters - tables,
    tokens=run.tokens,
    unique_tokens=run.tokens,
    epochs=0.5,
    steps=run.steps(1248),
    batch_size=16,
    budget=run.budget,
    flops=6.0 * (parameters - tables + 3e5) * run.tokens,
    loss=loss,
    losses={"babyai": loss / 3, "text": 2 * loss},
    target_tokens=9000,
    train_loss=loss,
    schedule=run.schedule or "wsd",
    learning_rate=2e-3 * run.rate,
    rate=run.rate,
    started="2026-01-02T00:00:00+00:00",
    seed=run.seed,
    score=None,
    seconds=60.0,
    trained_flops=1e11,
    workdir=f"work/x/{run.name}",
  )
  return dataclasses.replace(made, **changes)


def make_points(truth=SYNTHETIC, scale=0.003, score=True, seeds=(0,)):
  """Points of three budgets with six sizes each."""
  random, made = np.random.default_rng(1), []
  for budget, widths in zip(
    BUDGETS,
    ((32, 48, 64, 80, 96, 128), (40, 56, 72, 96, 120, 160), (56, 72, 96, 128, 160, 208)),
    strict=True,
  ):
    for width in widths:
      n = family.parameters(width, 32)
      for seed in seeds:
        run = runs.SweepRun(int(budget / 6 / (n + 3e5)), seed, width=width, budget=budget)
        loss = float(truth(n, run.tokens) * np.exp(scale * random.normal()))
        made.append(make_point(run, loss, score=100 - 15 * loss if score else None))
  return made
