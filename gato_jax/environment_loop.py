"""The only loop over timesteps: collecting and evaluating run through `run_episodes`.

An environment is a dm_env.Environment with four additions (rlds_builders/_wrappers.py has the base class):

  seed(n)          the next reset() depends on n and on nothing before it
  episode_info()   JSON-able facts of the running episode; "success": bool where the task defines it
  render()         uint8 [H, W, 3], for videos
  control_timestep()  seconds of simulated time per step, 0 where time has no unit
"""

import collections
import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import dm_env
import numpy as np
from dm_env import specs

from gato_jax import randomness
from gato_jax.errors import GatoError


class Actor(Protocol):
  """Acts for many environments at once; a slot is one environment's place in the batch."""

  def reset(self, slot: int, seed: int) -> None:
    """A new episode begins in `slot`."""

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    """Slot -> action, within the environment's action spec."""


class PerSlot:
  """Experts, one per environment, as an Actor. An expert has reset(seed) and act(timestep)."""

  def __init__(self, experts: Sequence[Any]):
    self._experts = experts

  def reset(self, slot: int, seed: int) -> None:
    self._experts[slot].reset(seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    return {slot: self._experts[slot].act(timestep) for slot, timestep in timesteps.items()}


class RandomExpert:
  """Acts uniformly at random: the zero of every normalised score.

  Args:
    task: "domain.task"; each task has a random stream of its own, so the returns of two tasks on
      the same seeds are as independent as their scenes are.
  """

  def __init__(self, action_spec: specs.Array, task: str):
    self._spec = action_spec
    self._purpose = f"random action/{task}"
    self.reset(0)

  def reset(self, seed: int) -> None:
    self._random = randomness.generator(self._purpose, seed)

  def act(self, timestep: dm_env.TimeStep) -> np.ndarray:
    del timestep
    spec = self._spec
    if np.issubdtype(spec.dtype, np.integer):
      return self._random.integers(spec.minimum, spec.maximum + 1, spec.shape).astype(spec.dtype)
    return self._random.uniform(spec.minimum, spec.maximum, spec.shape).astype(spec.dtype)


@dataclasses.dataclass
class Episode:
  """What the loop knows of one played episode. Rewards are summed undiscounted."""

  seed: int
  episode_return: float = 0.0
  length: int = 0
  info: dict[str, Any] = dataclasses.field(default_factory=dict)
  seconds: float = 0.0
  frames: list[np.ndarray] = dataclasses.field(default_factory=list)

  @property
  def success(self) -> bool | None:
    return self.info.get("success")


def check_action(spec: specs.Array, action: Any, where: str) -> np.ndarray:
  """The action as an array of the spec's dtype; GatoError when shape, bounds or finiteness are wrong."""
  action = np.asarray(action)
  if action.shape != spec.shape:
    raise GatoError(f"{where}: action has shape {action.shape}, the action spec says {spec.shape}")
  if not np.all(np.isfinite(action)):
    raise GatoError(f"{where}: action {action} is not finite")
  if np.any(action < spec.minimum) or np.any(action > spec.maximum):
    raise GatoError(f"{where}: action {action} is outside its bounds [{spec.minimum}, {spec.maximum}]")
  return action.astype(spec.dtype)


def run_episodes(
  environments: Sequence[dm_env.Environment],
  actor: Actor,
  seeds: Sequence[int],
  *,
  record_frames: Callable[[int, int], bool] = lambda seed, step: False,
) -> Iterator[Episode]:
  """Plays one episode per seed, as many side by side as there are environments; yields each when it ends.

  Args:
    environments: copies of one task's environment.
    actor: acts for all of them in one call a step.
    seeds: one episode each.
    record_frames: (seed, step) -> whether the frame before this step is rendered and kept; where the first one is, so
      is the one after the last step.

  Raises:
    GatoError: an action outside the action spec.
  """
  waiting = collections.deque(seeds)
  live: dict[int, tuple[dm_env.TimeStep, Episode]] = {}

  def start(slot: int) -> None:
    episode = Episode(waiting.popleft())
    environments[slot].seed(episode.seed)
    timestep = environments[slot].reset()
    actor.reset(slot, episode.seed)
    live[slot] = (timestep, episode)

  for slot in range(min(len(environments), len(waiting))):
    start(slot)
  while live:
    began = time.perf_counter()
    width = len(live)
    actions = actor.act({slot: timestep for slot, (timestep, _) in live.items()})
    for slot, (_, episode) in list(live.items()):
      environment = environments[slot]
      if record_frames(episode.seed, episode.length):
        episode.frames.append(environment.render())
      where = f"seed {episode.seed}, step {episode.length}"
      timestep = environment.step(check_action(environment.action_spec(), actions[slot], where))
      episode.episode_return += float(timestep.reward or 0.0)
      episode.length += 1
      live[slot] = (timestep, episode)
    share = (time.perf_counter() - began) / width
    for slot, (timestep, episode) in list(live.items()):
      episode.seconds += share
      if timestep.last():
        if episode.frames:
          episode.frames.append(environments[slot].render())
        episode.info = environments[slot].episode_info()
        del live[slot]
        if waiting:
          start(slot)
        yield episode
