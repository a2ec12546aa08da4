"""Control at a fixed rate: the world does not wait for a late action, and one action may be held for several steps."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import dm_env
import numpy as np

from gato_jax.environment_loop import Actor, check_action
from gato_jax.errors import GatoError


class Held:
  """An actor that is asked in every `steps`-th step only; between, its action is repeated and nothing is observed.

  This is what an action chunk is for a network that predicts actions but not observations: its memory holds only the
  steps in which it was asked.
  """

  def __init__(self, actor: Actor, steps: int):
    if steps < 1:
      raise GatoError(f"an action is held for at least 1 step, not {steps}")
    self._actor, self._steps = actor, steps
    self._taken: dict[int, int] = {}
    self._actions: dict[int, Any] = {}

  def reset(self, slot: int, seed: int) -> None:
    self._taken[slot] = 0
    self._actor.reset(slot, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> dict[int, Any]:
    asked = {slot: timestep for slot, timestep in timesteps.items() if self._taken[slot] % self._steps == 0}
    if asked:
      self._actions.update(self._actor.act(asked))
    for slot in timesteps:
      self._taken[slot] += 1
    return {slot: self._actions[slot] for slot in timesteps}


@dataclasses.dataclass
class Deadlines:
  """What a controlled run came to.

  Attributes:
    hz: steps a second that the world takes. asked, met: actions asked for, and those ready within a step.
    world_steps: steps that the world took; more than `asked` where actions were late.
    latencies: seconds of each action. returns: of the episodes that ended.
  """

  hz: float
  asked: int = 0
  met: int = 0
  world_steps: int = 0
  latencies: list[float] = dataclasses.field(default_factory=list)
  returns: list[float] = dataclasses.field(default_factory=list)

  def __str__(self) -> str:
    p50, p90, p99 = 1000 * np.percentile(self.latencies, (50, 90, 99))
    text = (
      f"met {self.met} of {self.asked} deadlines at {self.hz:g} Hz ({100 * self.met / self.asked:.2f} %); "
      f"an action took p50 {p50:.2f}, p90 {p90:.2f}, p99 {p99:.2f}, at most {1000 * max(self.latencies):.2f} ms "
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
  """Acts in an environment that takes `hz` steps a second, for `steps` actions; episodes follow one another.

  An action is due a period after its observation. While it is late, the world goes on with the action before it (an
  episode's first action is waited for), and the late one is taken in the step after it came. A simulator that is slower
  than the rate stretches the world's time: that is not counted against the actor.

  Args:
    first_seed: of the first episode; the others count up. now, sleep: the clock, in seconds.

  Raises:
    GatoError: the rate or the number of steps is not positive, or an action is outside its spec.
  """
  if hz <= 0 or steps <= 0:
    raise GatoError(f"{hz:g} Hz for {steps} steps: both must be positive")
  result, seed, period = Deadlines(hz), first_seed, 1 / hz
  timestep = _begin(environment, actor, seed)
  before, episode_return, observed = None, 0.0, now()
  while result.asked < steps:
    where = f"seed {seed}, step {result.world_steps} of the world"
    began = now()
    action = check_action(environment.action_spec(), actor.act({0: timestep})[0], where)
    result.latencies.append(now() - began)
    result.asked += 1
    periods = (now() - observed) / period
    result.met += periods <= 1
    late = 0 if before is None else max(0, math.ceil(periods) - 1)  # steps of the world before the action came
    for taken in [before] * late + [action]:
      timestep = environment.step(taken)
      result.world_steps += 1
      episode_return += float(timestep.reward or 0.0)
      if timestep.last():
        break
    on_step()
    observed = (now() if before is None else observed + late * period) + period
    before = action
    if timestep.last():
      result.returns.append(episode_return)
      seed += 1
      timestep = _begin(environment, actor, seed)
      before, episode_return, observed = None, 0.0, now()
    sleep(max(0.0, observed - now()))
    observed = max(observed, now())
  return result


def _begin(environment: Any, actor: Actor, seed: int) -> dm_env.TimeStep:
  environment.seed(seed)
  timestep = environment.reset()
  actor.reset(0, seed)
  return timestep
