"""The settings of an evaluation: its episodes, its limits of time, and its baselines."""

import dataclasses

from gato_jax.errors import GatoError, check_name

BASELINES = ("available", "logs", "scores", "measure")


@dataclasses.dataclass(frozen=True)
class EvaluateConfig:
  """Settings of an evaluation (docs/evaluation.md).

  Attributes:
    episodes: Episodes a task.
    baselines: Where random and expert returns come from. "logs": the expert's from the raw logs,
      random actions are played; "scores": both from the domain's scores.json; "measure": both are
      played; "available": "logs" for the tasks that have logs, "scores" for the others.
    baseline_episodes: Episodes a task, of baselines that are played.
    workers: Simulator processes; 0 for `default_workers`.
    step_seconds: A simulator that takes longer for a step is killed and costs its episode.
    reset_seconds: The same for starting its process, making the environment and resetting it.
    failures: Failures in a row after which the rest of a task is left for the next run.
    minutes: Time for playing a checkpoint; 0 to play everything. Episodes that run at its end are
      finished.
    until_width: A task is played no further once the 95 % interval of its normalised score is at
      most this wide, in points, and it has five episodes; 0 to play all `episodes`.
    idle_minutes: --follow ends when no checkpoint came for that long; with 0 it waits for the last
      one.
    videos: True to play the best and the worst episode of each task again and write videos into
      workdir/videos.
    tasks: The tasks that are played: "domain.task", with * and ? for any letters, or a domain; ()
      for the tasks that are trained.
  """

  episodes: int = 50
  baselines: str = "available"
  baseline_episodes: int = 20
  workers: int = 0
  step_seconds: float = 60.0
  reset_seconds: float = 300.0
  failures: int = 3
  minutes: float = 0.0
  until_width: float = 0.0
  idle_minutes: float = 60.0
  videos: bool = True
  tasks: tuple[str, ...] = ()

  def __post_init__(self):
    check_name(self.baselines, BASELINES, "source of baselines")
    if self.until_width < 0:
      raise GatoError(f"evaluate.until_width={self.until_width}: points of score, at least 0")
