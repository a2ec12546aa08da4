"""Experts act, EnvLogger records: shards of episodes in worker processes that never import TensorFlow."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
from collections.abc import Iterator, Sequence

from gato_jax import environment_loop, logs, results, specs
from gato_jax.errors import GatoError


@dataclasses.dataclass(frozen=True)
class CollectConfig:
  """How much to collect.

  Attributes:
    episodes: a task; domain_episodes overrides it for the tasks of a domain.
    shard_episodes: episodes a shard; a kill costs at most one shard a worker.
    workers: processes; 0 means one a core.
  """

  episodes: int = 50
  domain_episodes: dict[str, int] = dataclasses.field(default_factory=dict)
  shard_episodes: int = 10
  workers: int = 0

  def episodes_of(self, domain: str) -> int:
    return self.domain_episodes.get(domain, self.episodes)


def collect_shard(domain: specs.Domain, task: str, raw: pathlib.Path, index: int, seeds: Sequence[int]) -> int:
  """Plays the expert on `seeds` and writes one shard; returns the number of episodes."""
  environment = domain.make_environment(task)
  expert = domain.make_expert(environment, task)
  directory = logs.task_directory(raw, domain.name, task)
  logs.write_spec(directory, specs.environment_task_spec(domain, task, environment))
  with logs.ShardWriter(directory, index, environment) as writer:
    actor = environment_loop.PerSlot([expert])
    for e in environment_loop.run_episodes([writer.environment], actor, seeds):
      writer.append(
        results.Row(f"{domain.name}.{task}", "expert", e.seed, e.episode_return, e.length, e.success, e.seconds)
      )
  return len(seeds)


def missing_shards(
  domain: specs.Domain, task: str, raw: pathlib.Path, config: CollectConfig
) -> list[tuple[int, list[int]]]:
  """(shard index, seeds) not collected yet. An episode's seed is its index in collection order."""
  present = {p.name for p in logs.shards(logs.task_directory(raw, domain.name, task))}
  n, size = config.episodes_of(domain.name), config.shard_episodes
  every = [(i, list(range(i * size, min(n, (i + 1) * size)))) for i in range((n + size - 1) // size)]
  return [(i, seeds) for i, seeds in every if f"shard-{i:05d}" not in present]


def collect(
  tasks: Sequence[tuple[specs.Domain, str]], raw: pathlib.Path, config: CollectConfig
) -> Iterator[tuple[str, int]]:
  """Collects what is missing; yields (task, episodes) as shards are finished.

  Raises:
    GatoError: an expert failed or a simulator crashed; finished shards stay.
  """
  os.environ.setdefault("OMP_NUM_THREADS", "1")  # a worker is a core; BLAS threads would fight over it
  jobs = [(d, t, i, seeds) for d, t in tasks for i, seeds in missing_shards(d, t, raw, config)]
  if not jobs:
    return
  workers = config.workers or len(os.sched_getaffinity(0))
  spawn = multiprocessing.get_context("spawn")
  with concurrent.futures.ProcessPoolExecutor(workers, mp_context=spawn) as pool:
    futures = {pool.submit(collect_shard, d, t, raw, i, seeds): f"{d.name}.{t}" for d, t, i, seeds in jobs}
    try:
      for future in concurrent.futures.as_completed(futures):
        yield futures[future], future.result()
    except concurrent.futures.process.BrokenProcessPool as e:
      raise GatoError(f"{futures[future]}: a simulator process died ({e}); run again, finished shards are kept") from e
    finally:
      pool.shutdown(wait=True, cancel_futures=True)
