"""scores.json of a domain: random and expert return of every task, and how they were measured."""

import os
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax import evaluate, results, specs
from gato_jax.environment_loop import PerSlot

EPISODES = 20  # a task, for random and expert each
_PUBLISHED = ("human",)  # what an entry may hold that is not measured here


def how(domain: specs.Domain, first_seed: int) -> str:
  """What the entries of a domain's scores.json are; each says itself how many episodes it took."""
  return (
    f"python -m experiments.check --domain={domain.name} --write_scores: as many random as expert episodes, where an "
    f"entry does not say otherwise, seeds from {first_seed}; undiscounted returns; seconds_per_episode is the "
    f"expert's, one process on {platform.machine()}, {os.cpu_count()} cores"
  )


def measure(
  domain: specs.Domain, task: str, first_seed: int, episodes: int = EPISODES, random_episodes: int = 0
) -> dict[str, Any]:
  """A task's entry: plays random actions and the expert on the same seeds, one environment, in this process.

  `random_episodes` is for tasks whose expert is slow; 0 plays as many as of the expert.
  """
  seeds = range(first_seed, first_seed + episodes)
  random_seeds = range(first_seed, first_seed + (random_episodes or episodes))
  random = list(evaluate.play(domain, task, evaluate.random_actor, "random", random_seeds, slots=1))
  expert = list(evaluate.play(domain, task, _expert_actor(domain, task), "expert", seeds, slots=1))
  return {
    **_statistics("random", random),
    **_statistics("expert", expert),
    **({"random_episodes": random_episodes} if random_episodes else {}),
    "episodes": episodes,
    "seconds_per_episode": round(float(np.mean([row.seconds for row in expert])), 4),
  }


def replaced(entry: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
  """A task's entry after it was measured anew: what others published stays."""
  return {**{key: entry[key] for key in _PUBLISHED if key in entry}, **measured}


def _expert_actor(domain: specs.Domain, task: str):
  return lambda environments: PerSlot([domain.make_expert(environment, task) for environment in environments])


def _statistics(name: str, rows: Sequence[results.Row]) -> dict[str, float]:
  returns = [row.episode_return for row in rows]
  statistics = {name: round(float(np.mean(returns)), 4), f"{name}_std": round(float(np.std(returns)), 4)}
  if rows[0].success is not None:
    statistics[f"{name}_success"] = float(np.mean([row.success for row in rows]))
  return statistics
