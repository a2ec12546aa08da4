"""How much is played, how long it may take and what it is compared with."""

import dataclasses

from gato_jax import specs

# Collection counts up from 0 and refuses to reach this seed, so no episode is evaluated that was trained on, however
# much is collected. Every simulator here takes it: it is below 2**31.
FIRST_SEED = 1_000_000_000
BASELINES = ("available", "logs", "scores", "measure")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
  """How much is played (docs/evaluation.md).

  Attributes:
    episodes: a task.
    baselines: where random and expert returns come from. "logs": the expert's from the raw logs, random actions are
      played; "scores": both from the domain's scores.json; "measure": both are played; "available": "logs" for the
      tasks that have logs, "scores" for the others.
    baseline_episodes: a task, of baselines that are played.
    workers: simulator processes; 0: `default_workers`.
    step_seconds: a simulator that takes longer for a step is killed and costs its episode.
    reset_seconds: the same for starting its process, making the environment and resetting it.
    failures: after so many in a row the rest of a task is left for the next run.
    minutes: of playing a checkpoint; 0: until everything is played. Episodes that run then are finished.
    idle_minutes: --follow ends when no checkpoint came for so long.
    tasks: "domain.task", with * and ? for any letters, or a domain: what is played; (): the tasks that train.
    videos: the best and the worst episode of each task are played again and filmed into workdir/videos.
  """

  episodes: int = 50
  baselines: str = "available"
  baseline_episodes: int = 20
  workers: int = 0
  step_seconds: float = 60.0
  reset_seconds: float = 300.0
  failures: int = 3
  minutes: float = 0.0
  idle_minutes: float = 60.0
  videos: bool = True
  tasks: tuple[str, ...] = ()

  def __post_init__(self):
    specs.check_name(self.baselines, BASELINES, "source of baselines")
