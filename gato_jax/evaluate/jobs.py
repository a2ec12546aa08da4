"""What is to be played: one job an episode, in the order in which it is played."""

import dataclasses
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from gato_jax import results, returns, specs
from gato_jax.evaluate.config import FIRST_SEED

POLICY, RANDOM, EXPERT = "gato", "random", "expert"  # actors, as rows name them
Tasks = Sequence[tuple[specs.Domain, str]]


@dataclasses.dataclass(frozen=True)
class Film:
  """Of an episode that is played again for its pictures.

  Attributes:
    folder: where the video goes. kind: "best" or "worst".
    row: of the episode when it was played for its score.
  """

  folder: pathlib.Path
  kind: str
  row: results.Row


@dataclasses.dataclass(frozen=True)
class Job:
  """An episode to be played.

  Attributes:
    actor: POLICY acts through the policy process, RANDOM and EXPERT beside their environment.
    step: of the policy's checkpoint, 0 for the others.
    action_steps: that each action of the policy is held for.
    asked: the return that the policy is asked for; None: none.
  """

  domain: specs.Domain
  task: str
  actor: str
  step: int
  seed: int
  film: Film | None = None
  action_steps: int = 1
  asked: returns.Asked | None = None

  @property
  def name(self) -> str:
    return f"{self.domain.name}.{self.task}"


@dataclasses.dataclass(frozen=True)
class Failure:
  """An episode that its simulator did not finish: a line of failures.jsonl."""

  task: str
  actor: str
  step: int
  seed: int
  reason: str
  log: str


def missing(tasks: Tasks, actor: str, step: int, episodes: int, rows: Iterable[results.Row]) -> list[Job]:
  """Of the first `episodes` seeds those without a row; `tasks` in the order given."""
  present = {(row.task, row.seed) for row in rows if (row.actor, row.step) == (actor, step)}
  jobs = [Job(d, task, actor, step, seed) for d, task in tasks for seed in range(FIRST_SEED, FIRST_SEED + episodes)]
  return [job for job in jobs if (job.name, job.seed) not in present]


def worst_known_first(tasks: Tasks, last_scores: Mapping[str, float]) -> list[tuple[specs.Domain, str]]:
  """Tasks never played before, as given, then by their score at the last step at which each was played."""
  return sorted(tasks, key=lambda pair: last_scores.get(f"{pair[0].name}.{pair[1]}", -math.inf))


def films(tasks: Tasks, step: int, rows: Iterable[results.Row], folder: pathlib.Path) -> list[Job]:
  """The episodes with the highest and the lowest return of each task, the first of equals; one where all are equal."""
  by_task: dict[str, list[results.Row]] = {}
  for row in rows:
    if (row.actor, row.step) == (POLICY, step):
      by_task.setdefault(row.task, []).append(row)
  jobs = []
  for domain, task in tasks:
    played = sorted(by_task.get(f"{domain.name}.{task}", []), key=lambda row: row.seed)
    if not played:
      continue
    best, worst = (choose(played, key=lambda row: row.episode_return) for choose in (max, min))
    for kind, row in (("best", best), ("worst", worst))[: 1 if best == worst else 2]:
      jobs.append(Job(domain, task, POLICY, step, row.seed, Film(folder, kind, row)))
  return jobs
