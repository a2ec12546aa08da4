"""Plays episodes of one task in this process.

Experts are measured with it, and parallel evaluation must give the same rows.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gato_jax.domain import SimulatedDomain
from gato_jax.env import loop, results
from gato_jax.errors import GatoError


def play(
  domain: SimulatedDomain,
  task: str,
  make_actor: Callable[[Sequence[Any]], loop.Actor],
  name: str,
  seeds: Sequence[int],
  slots: int,
  *,
  step: int = 0,
) -> Iterator[results.Row]:
  """Plays one episode of a task for each seed; yields a row as each ends.

  Args:
    domain: The domain of the task.
    task: Its short name.
    make_actor: environments -> the actor for all of them.
    name: The actor's name in the rows.
    seeds: One for each episode.
    slots: Number of environments side by side in one batch.
    step: Training step of the actor's checkpoint.
  """
  count = min(slots, len(seeds))
  environments = [domain.make_environment(task) for _ in range(count)]

  try:
    for episode in loop.run_episodes(environments, make_actor(environments), seeds):
      yield row(f"{domain.name}.{task}", name, step=step, episode=episode)
  finally:
    for environment in environments:
      environment.close()


def row(task: str, actor: str, step: int, episode: loop.Episode) -> results.Row:
  """Returns the row of an episode of "domain.task"; GatoError if its episode_info() is not JSON."""
  # Success has a column of its own.
  info = {key: value for key, value in episode.info.items() if key != "success"}

  try:
    json.dumps(info, allow_nan=False)
  except (TypeError, ValueError) as e:
    raise GatoError(
      f"{task}, seed {episode.seed}: episode_info() must be JSON-able, it is not: {e}"
    ) from e

  return results.Row(
    task=task,
    actor=actor,
    seed=episode.seed,
    episode_return=episode.episode_return,
    length=episode.length,
    success=episode.success,
    seconds=episode.seconds,
    step=step,
    info=info,
    repeat_rate=episode.repeats.rate if episode.repeats else None,
    longest_repeat=episode.repeats.longest if episode.repeats else None,
  )


def random_actor(task: str) -> Callable[[Sequence[Any]], loop.Actor]:
  """Returns a function: environments of "domain.task" -> their random actor."""

  def make(environments: Sequence[Any]) -> loop.Actor:
    experts = [loop.RandomExpert(e.action_spec(), task) for e in environments]
    return loop.PerSlot(experts)

  return make
