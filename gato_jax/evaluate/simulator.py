"""A simulator process: plays the jobs that come through a pipe. No JAX, no TensorFlow.

python -m gato_jax.evaluate.simulator FD    started by gato_jax/evaluate/pool.py, which keeps the pipe's other end

To it go ("job", Job), then for each observation ("action", action) or ("refuse", why). From it come, for each job,
("opened", the TaskSpec as JSON) where another environment is made, ("observation", flat dict) for each step of the
policy, ("alive", None) now and then where the actor is here, and ("row", Row), ("failed", why) or ("disk", why), where
the others could not be kept either.
"""

import sys
import time
import traceback
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

import dm_env

from gato_jax import disk, environment_loop, realtime, results, returns, specs, worker
from gato_jax.errors import GatoError
from gato_jax.evaluate import jobs, sequential

_ALIVE_SECONDS = 1.0
_VIDEO_FRAMES_A_SECOND = 8  # of tasks without time


class RemotePolicy:
  """The policy process as an actor (environment_loop.Actor)."""

  def __init__(self, connection: Connection):
    self._connection = connection

  def reset(self, slot: int, seed: int) -> None:
    """The policy process knows: it gave the job."""

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    ((slot, timestep),) = timesteps.items()
    worker.send(self._connection, "observation", specs.flatten(timestep.observation))
    kind, content = worker.receive(self._connection)
    if kind == "refuse":
      raise GatoError(content)
    return {slot: content}


class Here:
  """An expert or the random actor beside its environment; says now and then that it is alive."""

  def __init__(self, connection: Connection, expert: Any):
    self._connection = connection
    self._actor = environment_loop.PerSlot([expert])
    self._said = 0.0

  def reset(self, slot: int, seed: int) -> None:
    self._actor.reset(slot, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    if time.monotonic() - self._said > _ALIVE_SECONDS:
      worker.send(self._connection, "alive", None)
      self._said = time.monotonic()
    return self._actor.act(timesteps)


class Simulator:
  """Keeps one environment, that of the last job's task."""

  def __init__(self, connection: Connection):
    self._connection = connection
    self._name = ""
    self._environment: Any = None
    self._spec: specs.TaskSpec | None = None

  def run(self) -> None:
    """Plays until the other end is gone."""
    while True:
      try:
        _, job = worker.receive(self._connection)
      except EOFError:
        return
      try:
        played = self._play(job)
      except (EOFError, BrokenPipeError, ConnectionResetError):
        return
      except Exception as e:  # whatever a simulator raises costs this episode only; the log has its traceback
        if full := disk.failure(e, forbidden=False):
          worker.send(self._connection, "disk", str(full))
          continue
        print(f"{job.name}, {job.actor}, seed {job.seed}:", file=sys.stderr)
        traceback.print_exc()
        self._environment = None  # in an unknown state: the next job makes another
        text = str(e) if isinstance(e, GatoError) else f"{type(e).__name__}: {e}"
        worker.send(self._connection, "failed", " ".join(text.split()))
      else:
        worker.send(self._connection, "row", played)

  def _play(self, job: jobs.Job) -> results.Row:
    self._open(job)
    film, stride = job.film, 1
    if film:
      from gato_jax.report import videos  # Pillow, for the few that film

      stride = videos.stride(film.row.length + 1)
    (episode,) = environment_loop.run_episodes(
      [self._environment],
      self._actor(job),
      [job.seed],
      record_frames=lambda _, step: film is not None and step % stride == 0,
    )
    played = sequential.row(job.name, job.actor, job.step, episode)
    if film:
      fps = 1 / self._spec.control_timestep if self._spec.control_timestep else _VIDEO_FRAMES_A_SECOND
      videos.write_rollout(film.folder, film.kind, episode.frames, fps / stride, played, film.row)
    return played

  def _open(self, job: jobs.Job) -> None:
    if self._environment is not None and self._name == job.name:
      return
    if self._environment is not None:
      self._environment.close()
    self._environment = job.domain.make_environment(job.task)
    self._name, self._spec = job.name, specs.environment_task_spec(job.domain, job.task, self._environment)
    worker.send(self._connection, "opened", self._spec.to_json())

  def _actor(self, job: jobs.Job) -> environment_loop.Actor:
    if job.actor == jobs.POLICY:
      held = realtime.Held(RemotePolicy(self._connection), job.action_steps)
      return returns.Asking(held, job.asked) if job.asked else held
    if job.actor == jobs.EXPERT:
      return Here(self._connection, job.domain.make_expert(self._environment, job.task))
    return Here(self._connection, environment_loop.RandomExpert(self._environment.action_spec(), job.name))


def main(descriptor: int) -> None:
  with worker.connect(descriptor) as connection:
    Simulator(connection).run()


if __name__ == "__main__":
  main(int(sys.argv[1]))
