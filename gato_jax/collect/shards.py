"""A shard: the expert acts, EnvLogger records."""

import collections
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from gato_jax import environment_loop, logs, origin, results, specs
from gato_jax.collect import departures
from gato_jax.collect.config import CollectConfig, TaskSettings
from gato_jax.errors import GatoError
from gato_jax.evaluate import jobs, sequential
from gato_jax.tokens import codec, layout

_UNDISTURBED_EVERY = 4  # shards


class Refused(GatoError):
  """A task whose spec cannot be tokenised: nothing of it is played."""


def collect_shard(
  domain: specs.Domain,
  task: str,
  raw: pathlib.Path,
  index: int,
  seeds: Sequence[int],
  settings: TaskSettings = TaskSettings(),  # noqa: B008, it is frozen
  say: Callable[[str, int], None] = lambda kind, number: None,
) -> int:
  """Plays the expert on `seeds`, all that is missing of the shard, and completes it; returns how many they are.

  Where the expert's actions are to be changed, they are in all shards but each fourth; the rows of those shards say so
  and do not count as the expert's returns.

  Args:
    say: hears ("began", seed) of each episode and ("kept", episodes) when they are safe on the disk.

  Raises:
    origin.Changed: the logs that are there are of another origin.
    Refused: the spec cannot be tokenised. specs.BadStep: a timestep is not what the spec says.
  """
  directory = logs.task_directory(raw, domain.name, task)
  if not seeds:  # the others are kept, or were skipped
    probe(domain, task, raw, settings)
    logs.ShardWriter(directory, index).finish()
    return 0
  say("began", seeds[0])

  environment = domain.make_environment(task)
  try:
    spec = claim(domain, task, raw, environment, settings)
    name, is_changed = jobs.EXPERT, settings.departs and index % _UNDISTURBED_EVERY != 0
    expert = domain.make_expert(environment, task)
    if is_changed:
      name = f"{jobs.EXPERT}, disturbed"
      expert = _departing(expert, spec, settings)

    actor = environment_loop.PerSlot([expert])
    checked = departures.Checked(environment, spec)
    meant = (lambda: expert.expert_action) if is_changed else None
    with logs.ShardWriter(directory, index, checked, meant) as writer:
      for seed in seeds:
        say("began", seed)
        (episode,) = environment_loop.run_episodes([writer.environment], actor, [seed])
        say("kept", writer.append(sequential.row(spec.name, name, 0, episode)))
      say("kept", writer.finish())
  finally:
    environment.close()
  return len(seeds)


def _departing(expert: Any, spec: specs.TaskSpec, settings: TaskSettings) -> Any:
  if settings.mistakes:
    expert = departures.Mistaken(expert, spec.name, spec.action, settings.mistakes)
  if settings.disturbance:
    expert = departures.Pushed(expert, spec.name, spec.action, settings.disturbance)
  return expert


def claim(
  domain: specs.Domain, task: str, raw: pathlib.Path, environment: Any, settings: TaskSettings
) -> specs.TaskSpec:
  """Checks a task's spec and its logs' origin before anything is played; writes both beside the logs.

  Raises:
    Refused: the spec cannot be tokenised. origin.Changed: the logs that are there are of another origin.
  """
  spec = specs.environment_task_spec(domain, task, environment)
  try:
    layout.TokenLayout(spec, codec.default_text_codec(), max_local_positions=1 << 16)
  except GatoError as e:
    raise Refused(str(e)) from e

  directory = logs.task_directory(raw, domain.name, task)
  now = {
    **origin.declared(domain, task),
    **origin.of_spec(spec),
    **settings.origin,
    "shard_episodes": logs.shard_episodes(directory, settings.shard_episodes),
  }
  logs.write_origin(directory, spec, now, settings.accept)
  return spec


def probe(domain: specs.Domain, task: str, raw: pathlib.Path, settings: TaskSettings) -> None:
  """Raises as `claim` does, for a task of which every episode is there."""
  environment = domain.make_environment(task)
  try:
    claim(domain, task, raw, environment, settings)
  finally:
    environment.close()


def missing_shards(
  domain: specs.Domain, task: str, raw: pathlib.Path, config: CollectConfig
) -> list[tuple[int, list[int]]]:
  """Returns (shard index, seeds) of what is not collected yet. An episode's seed is its index in collection order.

  A complete shard is filled up where more of its episodes are asked for than it has; those that were skipped before,
  after as many failures as `config.attempts`, stay skipped.
  """
  directory = logs.task_directory(raw, domain.name, task)
  n, size = config.episodes_of(domain.name), logs.shard_episodes(directory, config.shard_episodes)
  failed = collections.Counter(row.seed for row in results.read(directory / "failures.jsonl", jobs.Failure))

  missing = []
  for index in range((n + size - 1) // size):
    seeds = range(index * size, min(n, (index + 1) * size))
    is_complete, rows = logs.shard_rows(directory, index)
    kept = {row.seed for row in rows}
    left = [seed for seed in seeds if seed not in kept]
    if is_complete:
      left = [seed for seed in left if failed[seed] < config.attempts]
    if left or not is_complete:
      missing.append((index, left))
  return missing
