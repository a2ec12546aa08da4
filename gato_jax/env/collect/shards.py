"""Collects one shard: the expert acts, and each step is logged."""

import collections
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from gato_jax.domain import SimulatedDomain, environment_task_spec
from gato_jax.env import logs, loop, results, sequential
from gato_jax.env.collect import perturbations
from gato_jax.env.collect.config import CollectConfig, TaskSettings
from gato_jax.env.results import EXPERT, Failure
from gato_jax.errors import GatoError
from gato_jax.storage import origin
from gato_jax.task import TaskSpec
from gato_jax.tokens import codec, layout

_UNDISTURBED_EVERY = 4  # shards

# The spec is checked for what no model of any size could tokenise; each model has a smaller limit
# of its own.
_MAX_LOCAL_POSITIONS = 1 << 16


class SpecRefused(GatoError):
  """A task's spec cannot be tokenised: none of its episodes is played."""


def collect_shard(
  domain: SimulatedDomain,
  task: str,
  raw: pathlib.Path,
  index: int,
  seeds: Sequence[int],
  settings: TaskSettings = TaskSettings(),  # noqa: B008  (it is frozen)
  report: Callable[[str, int], None] = lambda kind, number: None,
) -> int:
  """Plays the missing episodes of a shard and completes it; returns how many were played.

  Where the expert's actions are to be changed, they are in all shards but each fourth. The rows of
  changed shards say so, and do not count as the expert's returns.

  Args:
    domain: The domain of the task.
    task: Its short name.
    raw: Directory of all raw logs.
    index: The shard's number.
    seeds: Seeds of all episodes that are missing of the shard.
    settings: How they are played.
    report: Called with ("began", seed) for each episode, and ("kept", episodes) when they are safe
      on the disk.

  Raises:
    origin.OriginChanged: The logs that are there are of another origin.
    SpecRefused: The spec cannot be tokenised.
    BadStep: A timestep does not match the spec.
  """
  directory = logs.task_directory(raw, domain.name, task)

  # Every other episode is kept or was skipped, but a kill left the shard incomplete.
  if not seeds:
    probe(domain, task, raw=raw, settings=settings)
    logs.ShardWriter(directory, index).finish()
    return 0

  # Making the environment may take as long as an episode: it is charged to the first one.
  report("began", seeds[0])
  environment = domain.make_environment(task)
  try:
    spec = check_and_write_origin(domain, task, raw=raw, environment=environment, settings=settings)
    expert = domain.make_expert(environment, task)
    actor_name = EXPERT

    is_perturbed = settings.is_perturbed and index % _UNDISTURBED_EVERY != 0
    if is_perturbed:
      actor_name = f"{EXPERT}, disturbed"
      expert = _perturbed(expert, spec, settings)

    def expert_action() -> Any:
      return expert.expert_action

    writer = logs.ShardWriter(
      directory,
      index,
      environment=perturbations.CheckedEnvironment(environment, spec),
      expert_action=expert_action if is_perturbed else None,
    )
    actor = loop.PerSlot([expert])
    with writer:
      for seed in seeds:
        report("began", seed)
        (episode,) = loop.run_episodes([writer.environment], actor, [seed])
        row = sequential.row(spec.name, actor_name, step=0, episode=episode)
        report("kept", writer.append(row))
      report("kept", writer.finish())
  finally:
    environment.close()

  return len(seeds)


def _perturbed(
  expert: Any, spec: TaskSpec, settings: TaskSettings
) -> perturbations.PerturbedExpert:
  # Pushes come last: they also move the random actions.
  if settings.mistakes:
    expert = perturbations.ExpertWithMistakes(
      expert, spec.name, spec=spec.action, share=settings.mistakes
    )
  if settings.disturbance:
    expert = perturbations.PushedExpert(
      expert, spec.name, spec=spec.action, size=settings.disturbance
    )
  return expert


def check_and_write_origin(
  domain: SimulatedDomain, task: str, raw: pathlib.Path, environment: Any, settings: TaskSettings
) -> TaskSpec:
  """Checks a task's spec and origin before anything is played; writes both beside the logs.

  Args:
    domain: The domain of the task.
    task: Its short name.
    raw: Directory of all raw logs.
    environment: A live environment of the task.
    settings: How the episodes are played, a part of their origin.

  Returns:
    The spec.

  Raises:
    SpecRefused: The spec cannot be tokenised.
    origin.OriginChanged: The logs that are there are of another origin.
  """
  spec = environment_task_spec(domain, task, environment)
  try:
    layout.TokenLayout(spec, codec.default_text_codec(), max_local_positions=_MAX_LOCAL_POSITIONS)
  except GatoError as e:
    raise SpecRefused(str(e)) from e

  directory = logs.task_directory(raw, domain.name, task)
  now = {
    **origin.declared(domain, task),
    **origin.of_spec(spec),
    **settings.origin,
    "shard_episodes": logs.shard_episodes(directory, settings.shard_episodes),
  }
  logs.write_origin(directory, spec, now=now, accept=settings.accept)
  return spec


def probe(domain: SimulatedDomain, task: str, raw: pathlib.Path, settings: TaskSettings) -> None:
  """Checks the spec and the origin of a task of which every episode is there.

  Raises:
    GatoError: As `check_and_write_origin` does.
  """
  environment = domain.make_environment(task)
  try:
    check_and_write_origin(domain, task, raw=raw, environment=environment, settings=settings)
  finally:
    environment.close()


def missing_shards(
  domain: SimulatedDomain, task: str, raw: pathlib.Path, config: CollectConfig
) -> list[tuple[int, list[int]]]:
  """Returns (shard index, seeds) of the episodes that are not collected yet.

  An episode's seed is its index in collection order. A complete shard is filled up where more of
  its episodes are requested than it has. Those that were skipped before, after `config.attempts`
  failures, stay skipped.
  """
  directory = logs.task_directory(raw, domain.name, task)
  episodes = config.episodes_of(domain.name, task)
  size = logs.shard_episodes(directory, config.shard_episodes)

  failures: collections.Counter[int | None] = collections.Counter()
  for failure in results.read(directory / "failures.jsonl", Failure):
    failures[failure.seed] += 1

  missing = []
  count = (episodes + size - 1) // size  # the last shard may have fewer episodes
  for index in range(count):
    is_complete, rows = logs.shard_rows(directory, index)
    kept = {row.seed for row in rows}

    seeds = range(index * size, min(episodes, (index + 1) * size))
    left = [seed for seed in seeds if seed not in kept]
    if is_complete:
      left = [seed for seed in left if failures[seed] < config.attempts]

    # Without seeds, a shard that is not complete has only to be given its final name.
    if left or not is_complete:
      missing.append((index, left))

  return missing
