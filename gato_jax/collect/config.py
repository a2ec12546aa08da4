"""How much is collected, and what a simulator may cost."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class CollectConfig:
  """How much to collect (docs/domains.md).

  Attributes:
    episodes: a task; domain_episodes overrides it for the tasks of a domain.
    shard_episodes: episodes a shard, the unit that a worker takes and the builder reads.
    disturbance: domain -> size of the pushes, as a share of each action's range; every fourth shard is left alone.
    mistakes: domain -> the largest share of random actions: each episode draws a share of its own up to it, so returns
      of all sizes come about; the log keeps what was done. Every fourth shard is left alone here too.
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
