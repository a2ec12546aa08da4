"""Environments + any actor -> rows. Continues where a kill stopped it: rows that exist are not played again."""

import dataclasses
import pathlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gato_jax import environment_loop, results, specs
from gato_jax.environment_loop import Episode

FIRST_SEED = 1_000_000  # collection counts from 0: no episode is evaluated that was trained on


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
  """How much is played.

  Attributes:
    episodes: a task.
    slots: environments side by side in one batch.
    random_episodes: of the random baseline, a task.
    videos: one episode a task is rendered into workdir/videos.
  """

  episodes: int = 50
  slots: int = 16
  random_episodes: int = 20
  videos: bool = True


def missing_seeds(path: pathlib.Path, task: str, actor: str, step: int, episodes: int) -> list[int]:
  """Seeds of the first `episodes` episodes of which `path` has no row."""
  done = {row.seed for row in results.read(path) if (row.task, row.actor, row.step) == (task, actor, step)}
  return [seed for seed in range(FIRST_SEED, FIRST_SEED + episodes) if seed not in done]


def play(
  domain: specs.Domain,
  task: str,
  make_actor: Callable[[Sequence[Any]], environment_loop.Actor],
  name: str,
  seeds: Sequence[int],
  slots: int,
  *,
  step: int = 0,
  check_spec: Callable[[specs.TaskSpec], None] = lambda spec: None,
  on_frames: Callable[[Episode, float], None] | None = None,
  on_step: Callable[[], None] = lambda: None,
) -> Iterator[results.Row]:
  """Plays `task` once per seed; yields a row as each episode ends.

  Args:
    make_actor: environments -> the actor of all of them.
    name: of the actor, in the rows. step: of its checkpoint.
    check_spec: raises when the environment's spec is not the one that the actor knows.
    on_frames: gets the first seed's episode with rendered frames, and the seconds a frame lasts.
  """
  environments = [domain.make_environment(task) for _ in range(min(slots, len(seeds)))]
  try:
    spec = specs.environment_task_spec(domain, task, environments[0])
    check_spec(spec)
    filmed = seeds[0] if on_frames else None
    for episode in environment_loop.run_episodes(
      environments, make_actor(environments), seeds, record_frames=lambda seed: seed == filmed, on_step=on_step
    ):
      if on_frames and episode.frames:
        on_frames(episode, spec.control_timestep)
      yield results.Row(
        spec.name, name, episode.seed, episode.episode_return, episode.length, episode.success, episode.seconds, step
      )
  finally:
    for environment in environments:
      environment.close()


def random_actor(environments: Sequence[Any]) -> environment_loop.Actor:
  return environment_loop.PerSlot([environment_loop.RandomExpert(e.action_spec()) for e in environments])
