"""Measures the random and the expert return of a domain's tasks, for its scores.json."""

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.domain import SimulatedDomain
from gato_jax.env import results
from gato_jax.env.loop import PerSlot
from gato_jax.env.results import EXPERT, RANDOM
from gato_jax.env.sequential import play, random_actor

EPISODES = 20  # of the expert, a task
RANDOM_EPISODES = 200  # a task
ACTORS = (RANDOM, EXPERT)

# Wall time of the random actor in a task. Where an episode takes longer than a second, fewer are
# played.
_RANDOM_SECONDS = 200.0

# Keys of an entry that are published numbers, which are not measured here.
_PUBLISHED = ("human",)


def how(domain: SimulatedDomain) -> str:
  """Returns the text that says what the entries of a domain's scores.json are.

  Each entry has its own seeds and numbers of episodes.
  """
  return (
    f"python -m experiments.check --domain={domain.name} --write_scores: means and population "
    "standard deviations of undiscounted returns; `episodes` of the expert from seed `first_seed`, "
    "`random_episodes` of random actions from seed `random_first_seed`; seconds_per_episode is the "
    f"expert's, one process on {platform.machine()}, {os.cpu_count()} cores"
  )


def measure(
  domain: SimulatedDomain,
  task: str,
  first_seed: int,
  episodes: int = EPISODES,
  random_episodes: int = RANDOM_EPISODES,
  actors: Sequence[str] = ACTORS,
) -> dict[str, Any]:
  """Plays a task in this process, in one environment; returns the measured part of its entry.

  Random returns have heavy tails in tasks that chance sometimes solves, so many episodes are
  played.

  Args:
    domain: The domain of the task.
    task: Its short name.
    first_seed: Seed of the first episode; the others count up.
    episodes: Episodes of the expert.
    random_episodes: Episodes of the random actor; fewer if they would take more than 200 seconds,
      but not fewer than `episodes`.
    actors: RANDOM, EXPERT or both.
  """
  measured: dict[str, Any] = {}

  if RANDOM in actors:
    rows = _play_random(
      domain,
      task,
      first_seed=first_seed,
      at_least=min(episodes, random_episodes),
      at_most=random_episodes,
    )
    measured |= _statistics(RANDOM, rows)
    measured |= {"random_episodes": len(rows), "random_first_seed": first_seed}

  if EXPERT in actors:
    seeds = range(first_seed, first_seed + episodes)
    make_expert = _expert_actor(domain, task)
    rows = list(play(domain, task, make_expert, name=EXPERT, seeds=seeds, slots=1))
    measured |= _statistics(EXPERT, rows)
    measured |= {
      "episodes": episodes,
      "first_seed": first_seed,
      "seconds_per_episode": round(float(np.mean([row.seconds for row in rows])), 4),
    }

  return measured


def _play_random(
  domain: SimulatedDomain, task: str, first_seed: int, at_least: int, at_most: int
) -> list[results.Row]:
  """Plays random episodes until there are enough or they have taken long enough."""
  actor = random_actor(f"{domain.name}.{task}")
  seeds = range(first_seed, first_seed + at_most)
  began = time.monotonic()
  rows = []

  for row in play(domain, task, actor, name=RANDOM, seeds=seeds, slots=1):
    rows.append(row)
    if len(rows) >= at_least and time.monotonic() - began > _RANDOM_SECONDS:
      break

  return rows


def replaced(entry: Mapping[str, Any], measured: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a task's entry after it was measured anew.

  Published numbers stay, and so does the part of an actor that was not measured now.

  Args:
    entry: The entry so far.
    measured: As `measure` returns it.
  """
  # With both actors measured, whatever else the entry holds is of an older version.
  kept: Mapping[str, Any] = {} if set(ACTORS) <= set(measured) else entry
  published = {key: entry[key] for key in _PUBLISHED if key in entry}
  return {**kept, **published, **measured}


def _expert_actor(domain: SimulatedDomain, task: str) -> Callable[[Sequence[Any]], PerSlot]:
  def make(environments: Sequence[Any]) -> PerSlot:
    return PerSlot([domain.make_expert(environment, task) for environment in environments])

  return make


def _statistics(name: str, rows: Sequence[results.Row]) -> dict[str, float]:
  returns = [row.episode_return for row in rows]
  statistics = {
    name: round(float(np.mean(returns)), 4),
    f"{name}_std": round(float(np.std(returns)), 4),
  }

  # A task defines success for all of its episodes or for none.
  if rows[0].success is not None:
    statistics[f"{name}_success"] = float(np.mean([row.success for row in rows]))
  return statistics
