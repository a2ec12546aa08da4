"""A simulator process: plays the jobs that come through a pipe. No JAX, no TensorFlow.

python -m gato_jax.evaluate.simulator_process FD

gato_jax/evaluate/simulator_pool.py starts it and holds the other end of the pipe.

It receives
  ("job", Job)
  ("action", action)    the answer to an observation
  ("refuse", reason)    the same, if the observation does not match the spec

For each job it sends
  ("opened", TaskSpec as JSON)   when another environment was made
  ("group", text)                when an episode of the policy begins that names a group
  ("observation", flat dict)     for each action of the policy
  ("alive", None)                now and then, while an expert or the random actor acts
and then one of
  ("row", Row)
  ("failed", reason)
  ("disk", reason)               no other episode could be kept either
"""

import sys
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import dm_env

from gato_jax.domain import environment_task_spec
from gato_jax.env import chunks, loop, realtime, results, returns, sequential, worker
from gato_jax.env.results import EXPERT, POLICY
from gato_jax.errors import GatoError
from gato_jax.evaluate import jobs
from gato_jax.storage import disk
from gato_jax.task import TaskSpec, flatten

_ALIVE_SECONDS = 1.0


class RemotePolicy:
  """The policy process as an actor (loop.Actor)."""

  def __init__(self, connection: Connection, environment: Any):
    self._connection = connection
    self._environment = environment

  def reset(self, slot: int, seed: int) -> None:
    """Tells the policy process, which began the episode when it sent the job, its group."""
    group = self._environment.episode_info().get("group", "")
    if group:
      worker.send(self._connection, "group", str(group))

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    ((slot, timestep),) = timesteps.items()
    worker.send(self._connection, "observation", flatten(timestep.observation))

    kind, content = worker.receive(self._connection)
    if kind == "refuse":
      raise GatoError(content)
    return {slot: content}


class LocalActor:
  """An expert or the random actor beside its environment; reports that it is alive."""

  def __init__(self, connection: Connection, expert: Any):
    self._connection = connection
    self._actor = loop.PerSlot([expert])
    self._reported_at = 0.0

  def reset(self, slot: int, seed: int) -> None:
    self._actor.reset(slot, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    if time.monotonic() - self._reported_at > _ALIVE_SECONDS:
      worker.send(self._connection, "alive", None)
      self._reported_at = time.monotonic()
    return self._actor.act(timesteps)


class Simulator:
  """Plays jobs; keeps one environment, that of the last job's task."""

  def __init__(self, connection: Connection):
    self._connection = connection
    self._name = ""
    self._environment: Any = None
    self._spec: TaskSpec | None = None

  def run(self) -> None:
    """Plays until the other end is gone."""
    while True:
      try:
        _, job = worker.receive(self._connection)
      except EOFError:
        return

      try:
        row = self._play(job)
      except (EOFError, BrokenPipeError, ConnectionResetError):
        return
      # Whatever a simulator raises costs this episode only; the log has its traceback.
      except Exception as e:
        self._report_error(job, e)
      else:
        worker.send(self._connection, "row", row)

  def _report_error(self, job: jobs.Job, error: Exception) -> None:
    if full := disk.failure(error, forbidden=False):
      worker.send(self._connection, "disk", str(full))
      return

    print(f"{job.name}, {job.actor}, seed {job.seed}:", file=sys.stderr)
    traceback.print_exception(error)

    # Its state is unknown: the next job makes another one.
    self._environment = None
    text = str(error) if isinstance(error, GatoError) else f"{type(error).__name__}: {error}"
    worker.send(self._connection, "failed", " ".join(text.split()))

  def _play(self, job: jobs.Job) -> results.Row:
    self._open_environment(job)
    if job.video:
      return self._play_for_video(job, job.video)
    if job.correction:
      return self._play_to_be_corrected(job)

    (episode,) = loop.run_episodes([self._environment], self._make_actor(job), [job.seed])
    return sequential.row(job.name, job.actor, step=job.step, episode=episode)

  def _play_for_video(self, job: jobs.Job, request: jobs.VideoRequest) -> results.Row:
    # Imports Pillow, which the other simulators do without.
    from gato_jax.evaluate import videos

    # The episode has as many steps as when it was played for its score, and an image before each
    # and after the last.
    stride = videos.stride(request.row.length + 1)
    (episode,) = loop.run_episodes(
      [self._environment],
      self._make_actor(job),
      [job.seed],
      record_frames=lambda seed, step: step % stride == 0,
    )
    row = sequential.row(job.name, job.actor, step=job.step, episode=episode)

    assert self._spec is not None
    seconds = self._spec.control_timestep
    fps = 1 / seconds if seconds else videos.DEFAULT_FPS
    videos.write_rollout(
      request.directory,
      request.kind,
      frames=episode.frames,
      fps=fps / stride,
      shown=row,
      scored=request.row,
    )
    return row

  def _play_to_be_corrected(self, job: jobs.Job) -> results.Row:
    # Imports EnvLogger, which the other jobs do without.
    from gato_jax.evaluate import corrections

    assert self._spec is not None
    return corrections.play(job, self._environment, self._spec, policy=self._make_actor(job))

  def _open_environment(self, job: jobs.Job) -> None:
    if self._environment is not None and self._name == job.name:
      return

    if self._environment is not None:
      self._environment.close()
    self._environment = job.domain.make_environment(job.task)
    self._name = job.name
    self._spec = environment_task_spec(job.domain, job.task, self._environment)
    worker.send(self._connection, "opened", self._spec.to_json())

  def _make_actor(self, job: jobs.Job) -> loop.Actor:
    if job.actor == POLICY:
      actor: loop.Actor = RemotePolicy(self._connection, self._environment)
      if job.chunk_steps:
        actor = chunks.ChunkedActor(actor, job.chunk_steps)
      actor = realtime.ActionRepeat(actor, job.action_steps)
      if job.return_target:
        return returns.ReturnConditionedActor(actor, job.return_target)
      return actor

    if job.actor == EXPERT:
      expert = job.domain.make_expert(self._environment, job.task)
    else:
      expert = loop.RandomExpert(self._environment.action_spec(), job.name)
    return LocalActor(self._connection, expert)


def main(descriptor: int) -> None:
  with worker.connect(descriptor) as connection:
    Simulator(connection).run()


if __name__ == "__main__":
  main(int(sys.argv[1]))
