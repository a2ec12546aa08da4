"""Control at a fixed rate, in a world that does not wait for late actions; action repeat."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import dm_env
import numpy as np

from gato_jax.env.loop import Actor, check_action
from gato_jax.errors import GatoError


class ActionRepeat:
  """Calls an actor in every `steps`-th step and repeats its action in between.

  This is what an action chunk is for a network that predicts actions but not observations: its
  memory holds only the steps in which it acted.
  """

  def __init__(self, actor: Actor, steps: int):
    if steps < 1:
      raise GatoError(f"an action is held for at least 1 step, not {steps}")
    self._actor = actor
    self._steps = steps
    self._elapsed: dict[int, int] = {}
    self._actions: dict[int, Any] = {}

  def reset(self, slot: int, seed: int) -> None:
    self._elapsed[slot] = 0
    self._actor.reset(slot, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> dict[int, Any]:
    # Slots began their episodes at different times, so each has its own phase.
    due = {
      slot: timestep
      for slot, timestep in timesteps.items()
      if self._elapsed[slot] % self._steps == 0
    }
    if due:
      self._actions.update(self._actor.act(due))

    executed = {}
    for slot in timesteps:
      executed[slot] = self._action(self._actions[slot], self._elapsed[slot] % self._steps)
      self._elapsed[slot] += 1

    return executed

  def _action(self, answer: Any, elapsed: int) -> Any:
    """Returns what is executed `elapsed` steps after the actor gave `answer`."""
    del elapsed
    return answer


@dataclasses.dataclass
class Deadlines:
  """Statistics of a controlled run.

  Attributes:
    hz: Steps a second that the world takes.
    requested: Number of actions that the actor was asked for.
    met: Number of those that were ready within a step.
    world_steps: Steps that the world took; more than `requested` if actions were late.
    latencies: Seconds of each action.
    returns: Returns of the episodes that ended.
  """

  hz: float
  requested: int = 0
  met: int = 0
  world_steps: int = 0
  latencies: list[float] = dataclasses.field(default_factory=list)
  returns: list[float] = dataclasses.field(default_factory=list)

  def __str__(self) -> str:
    p50, p90, p99 = 1000 * np.percentile(self.latencies, (50, 90, 99))
    longest = 1000 * max(self.latencies)
    share = 100 * self.met / self.requested

    text = (
      f"met {self.met} of {self.requested} deadlines at {self.hz:g} Hz ({share:.2f} %); "
      f"an action took p50 {p50:.2f}, p90 {p90:.2f}, p99 {p99:.2f}, at most {longest:.2f} ms "
      f"of {1000 / self.hz:.1f}"
    )
    if self.returns:
      text += f"; mean return {np.mean(self.returns):.4g} over {len(self.returns)} episodes"
    return text


def control(
  environment: Any,
  actor: Actor,
  hz: float,
  steps: int,
  first_seed: int,
  *,
  on_step: Callable[[], None] = lambda: None,
  now: Callable[[], float] = time.perf_counter,
  sleep: Callable[[float], None] = time.sleep,
) -> Deadlines:
  """Acts in an environment that takes `hz` steps a second; episodes follow one another.

  An action is due one period after its observation. While it is late, the world goes on with the
  previous action, and takes the late one in the step after its arrival; an episode's first action
  is waited for. A simulator that is slower than the rate stretches the world's time: that is not
  counted against the actor.

  Args:
    environment: One that keeps the contract of loop.py.
    actor: Acts in slot 0.
    hz: Steps a second.
    steps: Number of actions.
    first_seed: Seed of the first episode; the others count up.
    on_step: Called after each action.
    now: The clock, in seconds.
    sleep: Waits for some seconds.

  Raises:
    GatoError: The rate or the number of steps is not positive, or an action is outside its spec.
  """
  if hz <= 0 or steps <= 0:
    raise GatoError(f"{hz:g} Hz for {steps} steps: both must be positive")

  result = Deadlines(hz)
  period = 1 / hz
  seed = first_seed
  timestep = _begin_episode(environment, actor, seed=seed)
  previous = None
  episode_return = 0.0
  observed_at = now()

  while result.requested < steps:
    where = f"seed {seed}, step {result.world_steps} of the world"
    began = now()
    action = check_action(environment.action_spec(), actor.act({0: timestep})[0], where=where)
    result.latencies.append(now() - began)
    result.requested += 1

    # Counted from the observation, not from `began`: what this process does in between delays the
    # action, too.
    periods = (now() - observed_at) / period
    result.met += periods <= 1

    # Steps that the world took with the previous action before this one came.
    late_steps = 0
    if previous is not None:
      late_steps = max(0, math.ceil(periods) - 1)

    for executed in [previous] * late_steps + [action]:
      timestep = environment.step(executed)
      result.world_steps += 1
      episode_return += float(timestep.reward or 0.0)
      if timestep.last():
        break
    on_step()

    # The next observation comes a period after the step that took the action. The world's clock of
    # an episode starts with its first action; later it advances by whole periods, whatever the time
    # was when the action came.
    taken_at = now() if previous is None else observed_at + late_steps * period
    observed_at = taken_at + period
    previous = action

    if timestep.last():
      result.returns.append(episode_return)
      seed += 1
      timestep = _begin_episode(environment, actor, seed=seed)
      previous = None
      episode_return = 0.0
      observed_at = now()

    sleep(max(0.0, observed_at - now()))
    # A slow simulator has passed the time already: the observation is only there now.
    observed_at = max(observed_at, now())

  return result


def _begin_episode(environment: Any, actor: Actor, seed: int) -> dm_env.TimeStep:
  environment.seed(seed)
  timestep = environment.reset()
  actor.reset(0, seed)
  return timestep
