"""Corrections: the policy acts, the expert beside it labels every state that the policy reaches.

A clone learns from states that its expert visits, and errs in those that only its own mistakes lead
to. Episodes of the policy with the expert's labels show those (DAgger, Ross et al. 2011). They are
logged like collected ones, in a folder of the training run: the executed action with the state that
it led to, the expert's as `expert_action`. They never count as the expert's returns.
"""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from gato_jax.domain import SimulatedDomain
from gato_jax.env import logs, loop, results, sequential
from gato_jax.env.collect import TaskSettings, perturbations, shards
from gato_jax.env.results import POLICY
from gato_jax.errors import GatoError
from gato_jax.evaluate.jobs import CorrectionRequest, Job
from gato_jax.randomness import FIRST_CORRECTION_SEED
from gato_jax.task import TaskSpec


@dataclasses.dataclass(frozen=True)
class DaggerConfig:
  """Settings of training on corrections (experiments/dagger.py).

  Attributes:
    rounds: Number of rounds, spread evenly over the training run.
    episodes: Episodes of the policy a task and round.
    beta: In round n each step executes the expert's action with the probability beta**n.
  """

  rounds: int = 2
  episodes: int = 20
  beta: float = 0.5

  def __post_init__(self):
    if self.rounds < 1 or self.episodes < 1 or not 0 <= self.beta <= 1:
      raise GatoError(
        f"dagger: rounds={self.rounds} and episodes={self.episodes} are at least 1, "
        f"beta={self.beta:g} is a probability"
      )


def missing(
  tasks: Sequence[tuple[SimulatedDomain, str]],
  raw: pathlib.Path,
  *,
  round_number: int,
  episodes: int,
  beta: float,
  step: int,
) -> list[Job]:
  """Returns a job for each episode that a round lacks.

  Args:
    tasks: (domain, short name) of each task; its expert must be able to correct.
    raw: Directory of the raw logs.
    round_number: Number of the round, counted from 1.
    episodes: Episodes a task and round.
    beta: As in CorrectionRequest.
    step: Training step of the policy's checkpoint.
  """
  first = (round_number - 1) * episodes

  jobs = []
  for domain, task in tasks:
    directory = logs.task_directory(raw, domain.name, task)
    for shard in range(first, first + episodes):
      # An episode is a shard of its own: it is complete or it is played again.
      is_complete, _ = logs.shard_rows(directory, shard)
      if not is_complete:
        request = CorrectionRequest(raw, shard, beta)
        seed = FIRST_CORRECTION_SEED + shard
        jobs.append(Job(domain, task, actor=POLICY, step=step, seed=seed, correction=request))

  return jobs


def play(job: Job, environment: Any, spec: TaskSpec, policy: loop.Actor) -> results.Row:
  """Plays and logs an episode of the policy that the task's expert corrects.

  Args:
    job: The episode, with a request for corrections.
    environment: A live environment of the task.
    spec: Its spec.
    policy: Acts in slot 0.

  Returns:
    The episode's row.

  Raises:
    origin.OriginChanged: The logs that are there are of another origin.
    BadStep: A timestep does not match the spec.
  """
  request = job.correction
  assert request is not None and spec.action is not None
  shards.check_and_write_origin(
    job.domain, job.task, raw=request.raw, environment=environment, settings=TaskSettings()
  )

  expert = job.domain.make_expert(environment, job.task)
  actor = perturbations.CorrectedPolicy(
    expert, policy, task=spec.name, spec=spec.action, beta=request.beta
  )
  writer = logs.ShardWriter(
    logs.task_directory(request.raw, job.domain.name, job.task),
    request.shard,
    environment=perturbations.CheckedEnvironment(environment, spec),
    expert_action=lambda: actor.expert_action,
  )

  with writer:
    (episode,) = loop.run_episodes([writer.environment], loop.PerSlot([actor]), [job.seed])
    row = sequential.row(spec.name, f"{POLICY}, step {job.step}", step=job.step, episode=episode)
    writer.append(row)

  return row
