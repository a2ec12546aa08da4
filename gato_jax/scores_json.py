"""scores.json of a domain: random and expert return of every task, and how they were measured."""

import os
import platform
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax import evaluate, results, specs
from gato_jax.environment_loop import PerSlot

EPISODES = 20  # of the expert, a task
RANDOM_EPISODES = 200
_RANDOM_SECONDS = 200.0  # of wall time: where an episode takes longer than a second, fewer are played
ACTORS = ("random", "expert")
_PUBLISHED = ("human",)  # what an entry may hold that is not measured here


def how(domain: specs.Domain) -> str:
  """Says what the entries of a domain's scores.json are; each entry has its own seeds and numbers of episodes."""
  return (
    f"python -m experiments.check --domain={domain.name} --write_scores: means and population standard deviations of "
    "undiscounted returns; `episodes` of the expert from seed `first_seed`, `random_episodes` of random actions from "
    f"seed `random_first_seed`; seconds_per_episode is the expert's, one process on {platform.machine()}, "
    f"{os.cpu_count()} cores"
  )


def measure(
  domain: specs.Domain,
  task: str,
  first_seed: int,
  episodes: int = EPISODES,
  random_episodes: int = RANDOM_EPISODES,
  actors: Sequence[str] = ACTORS,
) -> dict[str, Any]:
  """Plays a task in this process, in one environment; returns what belongs into its entry.

  Random returns have heavy tails in tasks that chance sometimes solves, so many episodes are played.

  Args:
    episodes: of the expert.
    random_episodes: of the random actor; fewer where they would take more than 200 seconds, but never fewer than
      `episodes`.
    actors: "random", "expert" or both.
  """
  measured: dict[str, Any] = {}

  if "random" in actors:
    random = _play_random(domain, task, first_seed, at_least=min(episodes, random_episodes), at_most=random_episodes)
    measured |= _statistics("random", random)
    measured |= {"random_episodes": len(random), "random_first_seed": first_seed}

  if "expert" in actors:
    seeds = range(first_seed, first_seed + episodes)
    expert = list(evaluate.play(domain, task, _expert_actor(domain, task), "expert", seeds, slots=1))
    measured |= _statistics("expert", expert)
    measured |= {
      "episodes": episodes,
      "first_seed": first_seed,
      "seconds_per_episode": round(float(np.mean([row.seconds for row in expert])), 4),
    }

  return measured


def _play_random(domain: specs.Domain, task: str, first_seed: int, at_least: int, at_most: int) -> list[results.Row]:
  """Plays random episodes until there are enough or they have taken long enough."""
  actor = evaluate.random_actor(f"{domain.name}.{task}")
  seeds = range(first_seed, first_seed + at_most)
  began, rows = time.monotonic(), []

  for row in evaluate.play(domain, task, actor, "random", seeds, slots=1):
    rows.append(row)
    if len(rows) >= at_least and time.monotonic() - began > _RANDOM_SECONDS:
      break

  return rows


def replaced(entry: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a task's entry after it was measured anew: what others published, and what was not measured now, stays."""
  stale = {} if set(ACTORS) <= set(measured) else entry
  return {**stale, **{key: entry[key] for key in _PUBLISHED if key in entry}, **measured}


def _expert_actor(domain: specs.Domain, task: str):
  return lambda environments: PerSlot([domain.make_expert(environment, task) for environment in environments])


def _statistics(name: str, rows: Sequence[results.Row]) -> dict[str, float]:
  returns = [row.episode_return for row in rows]
  statistics = {name: round(float(np.mean(returns)), 4), f"{name}_std": round(float(np.std(returns)), 4)}
  if rows[0].success is not None:
    statistics[f"{name}_success"] = float(np.mean([row.success for row in rows]))
  return statistics
