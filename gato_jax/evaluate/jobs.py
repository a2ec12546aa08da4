"""The episodes that are to be played: one job each, in the order in which they are played."""

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from gato_jax.domain import SimulatedDomain
from gato_jax.env import results, returns
from gato_jax.env.results import POLICY
from gato_jax.randomness import FIRST_EVALUATION_SEED

Tasks = Sequence[tuple[SimulatedDomain, str]]  # (domain, short name of the task)


@dataclasses.dataclass(frozen=True)
class VideoRequest:
  """Asks for a video of an episode that is played again.

  Attributes:
    directory: Where the video goes.
    kind: "best" or "worst".
    row: The episode when it was played for its score.
  """

  directory: pathlib.Path
  kind: str
  row: results.Row


@dataclasses.dataclass(frozen=True)
class CorrectionRequest:
  """Asks for an episode of the policy that the task's expert corrects (corrections.py).

  Attributes:
    raw: Directory of the raw logs that the episode is written to.
    shard: Number of the shard that holds it.
    beta: Probability that a step executes the expert's action instead of the policy's.
  """

  raw: pathlib.Path
  shard: int
  beta: float


@dataclasses.dataclass(frozen=True)
class Job:
  """An episode to play.

  Attributes:
    domain: The domain of the task.
    task: Its short name.
    actor: POLICY acts through the policy process, RANDOM and EXPERT beside their environment.
    step: Training step of the policy's checkpoint, 0 for other actors.
    seed: The environment's seed.
    video: Set if the episode is played for a video instead of a score.
    correction: Set if it is played to be corrected by the expert.
    action_steps: Steps for which each action of the policy is repeated.
    chunk_steps: Actions of each chunk that are executed; 0 for a policy without chunks.
    return_target: The return that the policy is conditioned on; None for a policy without return
      conditioning.
  """

  domain: SimulatedDomain
  task: str
  actor: str
  step: int
  seed: int
  video: VideoRequest | None = None
  correction: CorrectionRequest | None = None
  action_steps: int = 1
  chunk_steps: int = 0
  return_target: returns.ReturnTarget | None = None

  @property
  def name(self) -> str:
    return f"{self.domain.name}.{self.task}"


def missing(
  tasks: Tasks, actor: str, step: int, episodes: int, rows: Iterable[results.Row]
) -> list[Job]:
  """Returns a job for each episode without a row.

  Args:
    tasks: What is played, in this order.
    actor: As in Job.
    step: As in Job.
    episodes: Number of seeds a task.
    rows: Rows of episodes that were played.
  """
  present = {(row.task, row.seed) for row in rows if (row.actor, row.step) == (actor, step)}
  seeds = range(FIRST_EVALUATION_SEED, FIRST_EVALUATION_SEED + episodes)

  jobs = [
    Job(domain, task, actor=actor, step=step, seed=seed) for domain, task in tasks for seed in seeds
  ]
  return [job for job in jobs if (job.name, job.seed) not in present]


def worst_known_first(
  tasks: Tasks, last_scores: Mapping[str, float]
) -> list[tuple[SimulatedDomain, str]]:
  """Returns the tasks without a score, as given, and then the others by ascending score.

  Args:
    tasks: What is sorted.
    last_scores: "domain.task" -> its score at the last step at which it was played.
  """

  def score(entry: tuple[SimulatedDomain, str]) -> float:
    domain, task = entry
    return last_scores.get(f"{domain.name}.{task}", -math.inf)

  return sorted(tasks, key=score)


def video_jobs(
  tasks: Tasks, step: int, rows: Iterable[results.Row], directory: pathlib.Path
) -> list[Job]:
  """Returns jobs for the episodes with the highest and the lowest return of each task.

  Of equal returns the first is taken; where all are equal, there is one job.
  """
  by_task: dict[str, list[results.Row]] = {}
  for row in rows:
    if (row.actor, row.step) == (POLICY, step):
      by_task.setdefault(row.task, []).append(row)

  jobs = []
  for domain, task in tasks:
    played = sorted(by_task.get(f"{domain.name}.{task}", []), key=lambda row: row.seed)
    if not played:
      continue

    # max() and min() take the first of equal returns, in the order of the seeds.
    best = max(played, key=lambda row: row.episode_return)
    worst = min(played, key=lambda row: row.episode_return)
    shown = {"best": best} if best == worst else {"best": best, "worst": worst}
    for kind, row in shown.items():
      video = VideoRequest(directory, kind, row=row)
      jobs.append(Job(domain, task, actor=POLICY, step=step, seed=row.seed, video=video))

  return jobs
