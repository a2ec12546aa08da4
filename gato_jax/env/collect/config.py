"""The number of episodes that are collected, and what a simulator may cost."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.randomness import FIRST_EVALUATION_SEED


@dataclasses.dataclass(frozen=True)
class TaskSettings:
  """The part of a CollectConfig that a worker needs to collect a task.

  Attributes:
    disturbance: Size of the pushes, as a share of each action's range.
    mistakes: The largest share of random actions in an episode.
    shard_episodes: Episodes a shard in new logs; existing ones go on with their own number.
    accept: True to let episodes of another origin stay, which then count as of this one.
  """

  disturbance: float = 0.0
  mistakes: float = 0.0
  shard_episodes: int = 10
  accept: bool = False

  @property
  def is_perturbed(self) -> bool:
    """True when the expert's actions are changed before they are executed."""
    return bool(self.disturbance or self.mistakes)

  @property
  def origin(self) -> dict[str, Any]:
    """The parts of an origin that are settings (gato_jax/storage/origin.py)."""
    return {"disturbance": self.disturbance, "mistakes": self.mistakes}


@dataclasses.dataclass(frozen=True)
class CollectConfig:
  """Settings of a collection (docs/domains.md).

  Attributes:
    episodes: Episodes a task.
    domain_episodes: Domain -> episodes a task, or task -> episodes, where they differ from
      `episodes`.
    shard_episodes: Episodes a shard, the unit that a worker takes and the builder reads.
    disturbance: Domain -> size of the pushes, as a share of each action's range. The log keeps the
      action that was executed and the expert's own. Every fourth shard is left undisturbed.
    mistakes: Domain -> the largest share of random actions: each episode draws a share of its own
      up to it, so returns of all sizes come about. Every fourth shard is left undisturbed here,
      too.
    workers: Processes; 0 for one a core.
    episode_seconds: An episode that takes longer, or an environment that takes longer to make, is
      ended.
    memory_gb: Physical memory of a worker's process; an episode that needs more is ended.
    attempts: Attempts at an episode before it is skipped.
    failures: Skipped episodes in a row after which the rest of a task is left for the next run.
  """

  episodes: int = 50
  domain_episodes: dict[str, int | dict[str, int]] = dataclasses.field(default_factory=dict)
  shard_episodes: int = 10
  disturbance: dict[str, float] = dataclasses.field(default_factory=dict)
  mistakes: dict[str, float] = dataclasses.field(default_factory=dict)
  workers: int = 0
  episode_seconds: float = 600.0
  memory_gb: float = 4.0
  attempts: int = 2
  failures: int = 3

  def episodes_of(self, domain: str, task: str) -> int:
    """Returns how many episodes of a task are wanted."""
    wanted = self.domain_episodes.get(domain, self.episodes)

    return wanted.get(task, self.episodes) if isinstance(wanted, Mapping) else wanted

  def settings_of(self, domain: str, accept: bool = False) -> TaskSettings:
    return TaskSettings(
      disturbance=float(self.disturbance.get(domain, 0.0)),
      mistakes=float(self.mistakes.get(domain, 0.0)),
      shard_episodes=self.shard_episodes,
      accept=accept,
    )

  def __post_init__(self):
    counts = [self.episodes]
    for wanted in self.domain_episodes.values():
      counts += wanted.values() if isinstance(wanted, Mapping) else [wanted]

    most = max(counts)
    if most > FIRST_EVALUATION_SEED:
      raise GatoError(
        f"collect.episodes={most:,}: at most {FIRST_EVALUATION_SEED:,}, "
        "since evaluation plays the seeds from there on"
      )
    if self.shard_episodes < 1 or self.attempts < 1:
      raise GatoError(
        f"collect: shard_episodes={self.shard_episodes} and attempts={self.attempts} "
        "must be at least 1"
      )
