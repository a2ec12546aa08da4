"""A shard: the expert acts, EnvLogger records."""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import dm_env
import numpy as np

from gato_jax import environment_loop, logs, specs
from gato_jax.collect.config import CollectConfig
from gato_jax.evaluate import jobs, sequential


class Disturbed:
  """Pushes the environment off the expert's path while the log keeps what the expert meant (Laskey et al. 2017, DART).

  Every 10 steps, with probability 1/2, an offset is drawn that is added to each action for the next 10. Without such
  episodes a clone never sees how to come back: the expert itself hardly ever leaves its path.
  """

  _STEPS, _PROBABILITY = 10, 0.5

  def __init__(self, environment: Any, size: float):
    self._environment = environment
    self._size = size
    self._random = np.random.default_rng(0)
    self._step = 0
    self._offset: Any = 0.0

  def __getattr__(self, name: str) -> Any:
    return getattr(self._environment, name)

  def seed(self, seed: int) -> None:
    self._random = np.random.default_rng(seed)
    self._environment.seed(seed)

  def reset(self) -> dm_env.TimeStep:
    self._step, self._offset = 0, 0.0
    return self._environment.reset()

  def step(self, action: np.ndarray) -> dm_env.TimeStep:
    spec = self._environment.action_spec()
    if self._step % self._STEPS == 0:
      pushed = self._random.random() < self._PROBABILITY
      offset = self._random.uniform(-1, 1, spec.shape) * self._size * (spec.maximum - spec.minimum)
      self._offset = offset if pushed else 0.0
    self._step += 1
    return self._environment.step(np.clip(action + self._offset, spec.minimum, spec.maximum).astype(spec.dtype))


class Mistaken:
  """An expert that errs: the log keeps what it did (Disturbed keeps what it meant), so the data holds poor episodes.

  Each episode draws a share of mistakes. Every 10 steps, with that probability, one random action is taken 10 times.
  """

  _STEPS = 10

  def __init__(self, expert: Any, spec: Any, share: float):
    self._expert, self._random_actor, self._share = expert, environment_loop.RandomExpert(spec), share

  def reset(self, seed: int) -> None:
    self._random = np.random.default_rng([seed, 1])  # another stream than the random actor's
    self._expert.reset(seed)
    self._random_actor.reset(seed)
    self._probability = self._random.uniform(0, self._share)
    self._step, self._mistake = 0, None

  def act(self, timestep: dm_env.TimeStep) -> Any:
    meant = self._expert.act(timestep)  # asked in every step: it may keep a plan
    if self._step % self._STEPS == 0:
      errs = self._random.random() < self._probability
      self._mistake = self._random_actor.act(timestep) if errs else None
    self._step += 1
    return meant if self._mistake is None else self._mistake


def collect_shard(
  domain: specs.Domain,
  task: str,
  raw: pathlib.Path,
  index: int,
  seeds: Sequence[int],
  disturbance: float = 0.0,
  mistakes: float = 0.0,
  say: Callable[[str, int], None] = lambda kind, number: None,
) -> int:
  """Plays the expert on `seeds`, all that is missing of the shard, and completes it; returns how many they are.

  Where `disturbance` or `mistakes` are not 0 all shards but each fourth are disturbed; their rows say so and do not
  count as the expert's returns.

  Args:
    say: hears ("began", seed) of each episode and ("kept", episodes) when they are safe on the disk.
  """
  directory = logs.task_directory(raw, domain.name, task)
  if not seeds:  # the others are kept, or were skipped
    logs.ShardWriter(directory, index).finish()
    return 0
  say("began", seeds[0])
  environment = domain.make_environment(task)
  try:
    logs.write_spec(directory, specs.environment_task_spec(domain, task, environment))
    expert, played, name = domain.make_expert(environment, task), environment, jobs.EXPERT
    if (disturbance or mistakes) and index % 4:
      name = f"{jobs.EXPERT}, disturbed"
      played = Disturbed(environment, disturbance) if disturbance else environment
      expert = Mistaken(expert, environment.action_spec(), mistakes) if mistakes else expert
    actor = environment_loop.PerSlot([expert])
    with logs.ShardWriter(directory, index, played) as writer:
      for seed in seeds:
        say("began", seed)
        (episode,) = environment_loop.run_episodes([writer.environment], actor, [seed])
        say("kept", writer.append(sequential.row(f"{domain.name}.{task}", name, 0, episode)))
      say("kept", writer.finish())
  finally:
    environment.close()
  return len(seeds)


def missing_shards(
  domain: specs.Domain, task: str, raw: pathlib.Path, config: CollectConfig
) -> list[tuple[int, list[int]]]:
  """(shard index, seeds) not collected yet. An episode's seed is its index in collection order."""
  directory = logs.task_directory(raw, domain.name, task)
  present = {p.name for p in logs.shards(directory)}
  n, size = config.episodes_of(domain.name), config.shard_episodes
  missing = []
  for index in range((n + size - 1) // size):
    if f"shard-{index:05d}" not in present:
      kept = {row.seed for row in logs.partial_rows(directory, index)}
      seeds = range(index * size, min(n, (index + 1) * size))
      missing.append((index, [seed for seed in seeds if seed not in kept]))
  return missing
