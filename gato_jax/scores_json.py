"""scores.json of a domain: random and expert return of every task, and how they were measured."""

import os
import platform
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from gato_jax import evaluate, results, specs
from gato_jax.environment_loop import PerSlot

EPISODES = 20  # a task, for random and expert each


def measure(domain: specs.Domain, tasks: Iterable[str], first_seed: int) -> dict[str, Any]:
  """Plays random actions and the expert on the same seeds, one environment at a time, in this process."""
  seeds = range(first_seed, first_seed + EPISODES)
  command = f"python -m experiments.check --domain={domain.name} --write_scores"
  played = f"{EPISODES} random and {EPISODES} expert episodes a task, seeds {seeds[0]} to {seeds[-1]}"
  machine = f"one process on {platform.machine()}, {os.cpu_count()} cores"
  measured: dict[str, Any] = {
    "how": f"{command}: {played}; undiscounted returns; seconds_per_episode is the expert's, {machine}"
  }
  for task in tasks:
    random = list(evaluate.play(domain, task, evaluate.random_actor, "random", seeds, slots=1))
    expert = list(evaluate.play(domain, task, _expert_actor(domain, task), "expert", seeds, slots=1))
    measured[task] = {
      **_statistics("random", random),
      **_statistics("expert", expert),
      "episodes": EPISODES,
      "seconds_per_episode": round(float(np.mean([row.seconds for row in expert])), 4),
    }
  return measured


def _expert_actor(domain: specs.Domain, task: str):
  return lambda environments: PerSlot([domain.make_expert(environment, task) for environment in environments])


def _statistics(name: str, rows: Sequence[results.Row]) -> dict[str, float]:
  returns = [row.episode_return for row in rows]
  statistics = {name: round(float(np.mean(returns)), 4), f"{name}_std": round(float(np.std(returns)), 4)}
  if rows[0].success is not None:
    statistics[f"{name}_success"] = float(np.mean([row.success for row in rows]))
  return statistics
