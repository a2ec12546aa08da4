"""Episodes of one task in this process -> rows: measures experts, and is what parallel evaluation must equal."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gato_jax import environment_loop, results, specs
from gato_jax.errors import GatoError


def play(
  domain: specs.Domain,
  task: str,
  make_actor: Callable[[Sequence[Any]], environment_loop.Actor],
  name: str,
  seeds: Sequence[int],
  slots: int,
  *,
  step: int = 0,
) -> Iterator[results.Row]:
  """Plays `task` once per seed; yields a row as each episode ends.

  Args:
    make_actor: environments -> the actor of all of them.
    name: of the actor, in the rows. step: of its checkpoint.
    slots: environments side by side in one batch.
  """
  environments = [domain.make_environment(task) for _ in range(min(slots, len(seeds)))]
  try:
    for episode in environment_loop.run_episodes(environments, make_actor(environments), seeds):
      yield row(f"{domain.name}.{task}", name, step, episode)
  finally:
    for environment in environments:
      environment.close()


def row(task: str, actor: str, step: int, episode: environment_loop.Episode) -> results.Row:
  """The row of an episode of "domain.task"; GatoError where its episode_info() is not JSON."""
  info = {key: value for key, value in episode.info.items() if key != "success"}
  try:
    json.dumps(info, allow_nan=False)
  except (TypeError, ValueError) as e:
    raise GatoError(f"{task}, seed {episode.seed}: episode_info() must be JSON-able, it is not: {e}") from e
  played = (episode.seed, episode.episode_return, episode.length, episode.success, episode.seconds)
  return results.Row(task, actor, *played, step, info)


def random_actor(task: str) -> Callable[[Sequence[Any]], environment_loop.Actor]:
  """Returns what makes the random actor of copies of the environment of "domain.task"."""

  def make(environments: Sequence[Any]) -> environment_loop.Actor:
    experts = [environment_loop.RandomExpert(one.action_spec(), task) for one in environments]
    return environment_loop.PerSlot(experts)

  return make
