"""Experts act, EnvLogger records: shards of episodes in worker processes that never import TensorFlow."""

import concurrent.futures
import dataclasses
import multiprocessing
import os
import pathlib
import random
from collections.abc import Iterator, Sequence
from typing import Any

import dm_env
import numpy as np

from gato_jax import environment_loop, logs, specs
from gato_jax.errors import GatoError
from gato_jax.evaluate import sequential


@dataclasses.dataclass(frozen=True)
class CollectConfig:
  """How much to collect.

  Attributes:
    episodes: a task; domain_episodes overrides it for the tasks of a domain.
    shard_episodes: episodes a shard; a kill costs at most one shard a worker.
    disturbance: domain -> size of the pushes, as a share of each action's range; every fourth shard is left alone.
    workers: processes; 0 means one a core.
  """

  episodes: int = 50
  domain_episodes: dict[str, int] = dataclasses.field(default_factory=dict)
  shard_episodes: int = 10
  disturbance: dict[str, float] = dataclasses.field(default_factory=dict)
  workers: int = 0

  def episodes_of(self, domain: str) -> int:
    return self.domain_episodes.get(domain, self.episodes)


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


def collect_shard(
  domain: specs.Domain, task: str, raw: pathlib.Path, index: int, seeds: Sequence[int], disturbance: float = 0.0
) -> int:
  """Plays the expert on `seeds` and writes one shard; returns the number of episodes.

  Where `disturbance` is not 0 all shards but each fourth are disturbed; their rows say so and do not count as the
  expert's returns.
  """
  environment = domain.make_environment(task)
  disturbed = bool(disturbance and index % 4)
  expert = domain.make_expert(environment, task)
  directory = logs.task_directory(raw, domain.name, task)
  logs.write_spec(directory, specs.environment_task_spec(domain, task, environment))
  name = "expert, disturbed" if disturbed else "expert"
  with logs.ShardWriter(directory, index, Disturbed(environment, disturbance) if disturbed else environment) as writer:
    actor = environment_loop.PerSlot([expert])
    for e in environment_loop.run_episodes([writer.environment], actor, seeds):
      writer.append(sequential.row(f"{domain.name}.{task}", name, 0, e))
  return len(seeds)


def missing_shards(
  domain: specs.Domain, task: str, raw: pathlib.Path, config: CollectConfig
) -> list[tuple[int, list[int]]]:
  """(shard index, seeds) not collected yet. An episode's seed is its index in collection order."""
  present = {p.name for p in logs.shards(logs.task_directory(raw, domain.name, task))}
  n, size = config.episodes_of(domain.name), config.shard_episodes
  every = [(i, list(range(i * size, min(n, (i + 1) * size)))) for i in range((n + size - 1) // size)]
  return [(i, seeds) for i, seeds in every if f"shard-{i:05d}" not in present]


def _log_to(path: pathlib.Path) -> None:
  """What simulators and Riegeli write to stderr goes to a file, not through the progress bar."""
  os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)


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
  random.Random(0).shuffle(jobs)  # slow and fast tasks mixed: what is left can be told from what is done
  workers = config.workers or len(os.sched_getaffinity(0))
  spawn = multiprocessing.get_context("spawn")
  log = raw / "collect.log"
  log.parent.mkdir(parents=True, exist_ok=True)
  with concurrent.futures.ProcessPoolExecutor(workers, spawn, initializer=_log_to, initargs=(log,)) as pool:
    futures = {
      pool.submit(collect_shard, d, t, raw, i, seeds, config.disturbance.get(d.name, 0.0)): f"{d.name}.{t}"
      for d, t, i, seeds in jobs
    }
    try:
      for future in concurrent.futures.as_completed(futures):
        yield futures[future], future.result()
    except concurrent.futures.process.BrokenProcessPool as e:
      raise GatoError(f"{futures[future]}: a simulator process died ({e}); run again, finished shards are kept") from e
    finally:
      pool.shutdown(wait=True, cancel_futures=True)
