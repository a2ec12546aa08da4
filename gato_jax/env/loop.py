"""The only loop over timesteps: collection and evaluation both run through `run_episodes`.

An environment is a dm_env.Environment with four additions (rlds_builders/base/wrappers.py has the
base class):

  seed(n)          the next reset() depends on n and on nothing before it
  episode_info()   JSON-able facts of the running episode; "success": bool where the task defines
                   it; "group": text, from reset() on, where episodes share what observations hide
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
from gato_jax.env.repeats import RepeatCounter
from gato_jax.errors import GatoError


class Actor(Protocol):
  """Acts for many environments at once; a slot is an environment's index in the batch."""

  def reset(self, slot: int, seed: int) -> None:
    """Begins a new episode in `slot`."""

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    """Returns an action within the environment's action spec for each slot.

    Args:
      timesteps: slot -> the newest timestep of its environment.
    """


class PerSlot:
  """An Actor made of one expert for each environment, with reset(seed) and act(timestep)."""

  def __init__(self, experts: Sequence[Any]):
    self._experts = experts

  def reset(self, slot: int, seed: int) -> None:
    self._experts[slot].reset(seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    return {slot: self._experts[slot].act(timestep) for slot, timestep in timesteps.items()}


class RandomExpert:
  """Acts uniformly at random: the zero of every normalised score.

  Each task has a random stream of its own, so the returns of two tasks on the same seeds are as
  independent as their scenes are.
  """

  def __init__(self, action_spec: specs.Array, task: str):
    """Initializes the expert as for an episode with seed 0.

    Args:
      action_spec: A bounded spec of floats or integers.
      task: "domain.task".
    """
    self._spec = action_spec
    self._purpose = f"random action/{task}"
    self.reset(0)

  def reset(self, seed: int) -> None:
    self._random = randomness.generator(self._purpose, seed)

  def act(self, timestep: dm_env.TimeStep | None) -> np.ndarray:
    del timestep
    spec = self._spec

    if np.issubdtype(spec.dtype, np.integer):
      # The maximum of an integer spec is a legal action, the upper bound of integers() is
      # exclusive.
      action = self._random.integers(spec.minimum, spec.maximum + 1, spec.shape)
    else:
      action = self._random.uniform(spec.minimum, spec.maximum, spec.shape)

    return action.astype(spec.dtype)


@dataclasses.dataclass
class Episode:
  """One episode, played or running.

  Attributes:
    seed: The environment's seed.
    episode_return: Undiscounted sum of rewards.
    length: Environment steps.
    info: The environment's episode_info() at the end.
    seconds: Wall-clock time; a share of the batch's time where several environments run side by
      side.
    frames: Images of its video, each uint8 [H, W, 3].
    repeats: Counts the actions that repeat the one before.
  """

  seed: int
  episode_return: float = 0.0
  length: int = 0
  info: dict[str, Any] = dataclasses.field(default_factory=dict)
  seconds: float = 0.0
  frames: list[np.ndarray] = dataclasses.field(default_factory=list)
  repeats: RepeatCounter | None = None

  @property
  def success(self) -> bool | None:
    return self.info.get("success")


def check_action(spec: specs.Array, action: Any, where: str) -> np.ndarray:
  """Returns an action as an array of the spec's dtype.

  Args:
    spec: A bounded action spec.
    action: What an actor returned.
    where: Begins the message of the error, e.g. "seed 3, step 5".

  Raises:
    GatoError: Its shape or bounds are wrong, or it is not finite.
  """
  action = np.asarray(action)

  if action.shape != spec.shape:
    raise GatoError(f"{where}: action has shape {action.shape}, the action spec says {spec.shape}")
  if not np.all(np.isfinite(action)):
    raise GatoError(f"{where}: action {action} is not finite")
  if np.any(action < spec.minimum) or np.any(action > spec.maximum):
    raise GatoError(
      f"{where}: action {action} is outside its bounds [{spec.minimum}, {spec.maximum}]"
    )

  return action.astype(spec.dtype)


def run_episodes(
  environments: Sequence[dm_env.Environment],
  actor: Actor,
  seeds: Sequence[int],
  *,
  record_frames: Callable[[int, int], bool] = lambda seed, step: False,
) -> Iterator[Episode]:
  """Plays one episode for each seed in a batch of environments; yields each as it ends.

  Args:
    environments: Copies of one task's environment.
    actor: Acts for all of them in one call a step.
    seeds: One for each episode.
    record_frames: (seed, step) -> True to render and keep the image before this step. An episode of
      which an image is kept also keeps the one after its last step.

  Raises:
    GatoError: An action is outside the action spec.
  """
  waiting = collections.deque(seeds)
  running: dict[int, tuple[dm_env.TimeStep, Episode]] = {}

  def start(slot: int) -> None:
    repeats = RepeatCounter(environments[slot].action_spec())
    episode = Episode(waiting.popleft(), repeats=repeats)
    environments[slot].seed(episode.seed)
    timestep = environments[slot].reset()
    actor.reset(slot, episode.seed)
    running[slot] = (timestep, episode)

  for slot in range(min(len(environments), len(waiting))):
    start(slot)

  while running:
    began = time.perf_counter()
    count = len(running)
    actions = actor.act({slot: timestep for slot, (timestep, _) in running.items()})

    for slot, (_, episode) in list(running.items()):
      environment = environments[slot]
      if record_frames(episode.seed, episode.length):
        episode.frames.append(environment.render())

      where = f"seed {episode.seed}, step {episode.length}"
      action = check_action(environment.action_spec(), actions[slot], where=where)
      timestep = environment.step(action)

      assert episode.repeats is not None
      episode.repeats.add(action)
      episode.episode_return += float(timestep.reward or 0.0)
      episode.length += 1
      running[slot] = (timestep, episode)

    # The environments step one after the other: each episode is charged an equal share of the
    # round.
    share = (time.perf_counter() - began) / count

    for slot, (timestep, episode) in list(running.items()):
      episode.seconds += share
      if not timestep.last():
        continue

      if episode.frames:
        episode.frames.append(environments[slot].render())
      episode.info = environments[slot].episode_info()
      del running[slot]

      if waiting:
        start(slot)
      yield episode
