"""How much is collected, and what a simulator may cost."""

import dataclasses
from typing import Any

from gato_jax.errors import GatoError
from gato_jax.evaluate.config import FIRST_SEED


@dataclasses.dataclass(frozen=True)
class TaskSettings:
  """What a worker needs to know of a CollectConfig to collect a task.

  Attributes:
    disturbance: size of the pushes, as a share of each action's range.
    mistakes: the largest share of random actions in an episode.
    shard_episodes: of new logs; those that are there keep theirs.
    accept: episodes of another origin stay, and count as of this one.
  """

  disturbance: float = 0.0
  mistakes: float = 0.0
  shard_episodes: int = 10
  accept: bool = False

  @property
  def departs(self) -> bool:
    """Whether the expert's actions are changed before they are executed."""
    return bool(self.disturbance or self.mistakes)

  @property
  def origin(self) -> dict[str, Any]:
    """The parts of an origin that are settings (gato_jax/origin.py)."""
    return {"disturbance": self.disturbance, "mistakes": self.mistakes}


@dataclasses.dataclass(frozen=True)
class CollectConfig:
  """How much to collect (docs/domains.md).

  Attributes:
    episodes: a task; domain_episodes overrides it for the tasks of a domain.
    shard_episodes: episodes a shard, the unit that a worker takes and the builder reads.
    disturbance: domain -> size of the pushes, as a share of each action's range. The log keeps the action that was
      executed and the expert's own. Every fourth shard is left alone.
    mistakes: domain -> the largest share of random actions: each episode draws a share of its own up to it, so returns
      of all sizes come about. Every fourth shard is left alone here too.
    workers: processes; 0 means one a core.
    episode_seconds: an episode that takes longer, or an environment that takes longer to be made, is ended.
    memory_gb: of a worker's process, in physical memory; an episode that needs more is ended.
    attempts: at an episode before it is skipped.
    failures: skipped episodes in a row after which the rest of a task is left for the next run.
  """

  episodes: int = 50
  domain_episodes: dict[str, int] = dataclasses.field(default_factory=dict)
  shard_episodes: int = 10
  disturbance: dict[str, float] = dataclasses.field(default_factory=dict)
  mistakes: dict[str, float] = dataclasses.field(default_factory=dict)
  workers: int = 0
  episode_seconds: float = 600.0
  memory_gb: float = 4.0
  attempts: int = 2
  failures: int = 3

  def episodes_of(self, domain: str) -> int:
    return self.domain_episodes.get(domain, self.episodes)

  def settings_of(self, domain: str, accept: bool = False) -> TaskSettings:
    pushes, mistakes = (float(sizes.get(domain, 0.0)) for sizes in (self.disturbance, self.mistakes))
    return TaskSettings(pushes, mistakes, self.shard_episodes, accept)

  def __post_init__(self):
    most = max([self.episodes, *self.domain_episodes.values()])
    if most > FIRST_SEED:
      raise GatoError(
        f"collect.episodes={most:,}: at most {FIRST_SEED:,}, since evaluation plays the seeds from there on"
      )
    if self.shard_episodes < 1 or self.attempts < 1:
      raise GatoError(f"collect: shard_episodes={self.shard_episodes} and attempts={self.attempts} must be at least 1")
