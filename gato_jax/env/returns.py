"""Return conditioning: a transform of datasets and their specs, and a wrapper of actors.

With `data.returns` every timestep of a control task has one more observation field, the
return-to-go in per cent of the expert return (docs/returns.md). In training it is what the episode
still earned; while acting it is what is left of the target.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import dm_env
import numpy as np
from dm_env import specs

from gato_jax.env.loop import Actor
from gato_jax.errors import GatoError
from gato_jax.task import TaskSpec

# Name of the observation field.
RETURN_TO_GO = "return_to_go"


def with_return_to_go(spec: TaskSpec, expert_return: float) -> TaskSpec:
  """Returns the spec with the return-to-go, in per cent of `expert_return`, as one more field.

  Raises:
    GatoError: The task has a field of that name, or the expert return is 0 or not finite.
  """
  if RETURN_TO_GO in spec.observation:
    raise GatoError(
      f"{spec.name}: the observation already has a field {RETURN_TO_GO!r}; "
      "train without data.returns"
    )

  if not np.isfinite(expert_return) or expert_return == 0:
    raise GatoError(
      f"{spec.name}: there is no per cent of an expert return of {expert_return:g}; "
      "train it without"
    )

  field = specs.Array((), np.float32, name=RETURN_TO_GO)
  return dataclasses.replace(
    spec,
    observation={**spec.observation, RETURN_TO_GO: field},
    expert_return=float(expert_return),
  )


def without_return_to_go(spec: TaskSpec) -> TaskSpec:
  """Returns the spec of the environment itself, which has no return-to-go field."""
  if spec.expert_return is None:
    return spec

  observation = {key: field for key, field in spec.observation.items() if key != RETURN_TO_GO}
  return dataclasses.replace(spec, observation=observation, expert_return=None)


def to_go(rewards: np.ndarray) -> np.ndarray:
  """Returns each step's reward plus all later rewards, undiscounted.

  Args:
    rewards: [n], the rewards of an episode's steps.

  Returns:
    float32 [n].
  """
  # A cumulative sum from the end, in float64 so that long episodes lose no precision.
  sums = np.cumsum(rewards[::-1], dtype=np.float64)[::-1]
  return sums.astype(np.float32)


def percent(returns: Any, expert_return: float) -> Any:
  """Returns `returns` in per cent of the expert return, as float32.

  The divisor is the absolute value: a larger percentage is a larger return even where the expert
  return is negative.
  """
  return np.asarray(100 * np.asarray(returns, np.float64) / abs(expert_return), np.float32)


@dataclasses.dataclass(frozen=True)
class ReturnTarget:
  """The return that an actor is asked to reach in an episode.

  Attributes:
    expert_return: The expert return that the checkpoint was trained with.
    target: Requested return in units of the expert return: t means expert + (t - 1) |expert|, which
      is how data.keep counts.
  """

  expert_return: float
  target: float

  @property
  def episode_return(self) -> float:
    # The absolute value makes a larger target a larger return where the expert return is negative.
    return self.expert_return + (self.target - 1) * abs(self.expert_return)


def return_target(spec: TaskSpec, target: float) -> ReturnTarget | None:
  """Returns the target for an actor of this spec, or None where it was trained without returns.

  Raises:
    GatoError: It was trained without returns, and `target` is not the expert's return.
  """
  if spec.expert_return is not None:
    return ReturnTarget(spec.expert_return, target)

  if target != 1.0:
    raise GatoError(
      f"act.return_target={target:g}: {spec.name} was trained without returns, "
      "so none can be asked for; "
      "train with --config.data.returns=True, or leave act.return_target at 1"
    )

  return None


class ReturnConditionedActor:
  """Adds the return-to-go to every observation of an actor: the target minus the rewards so far."""

  def __init__(self, actor: Actor, target: ReturnTarget):
    self._actor = actor
    self._target = target

    # Slot -> return that is left of the target.
    self._remaining: dict[int, float] = {}

  def reset(self, slot: int, seed: int) -> None:
    self._remaining[slot] = self._target.episode_return
    self._actor.reset(slot, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    conditioned = {}
    for slot, timestep in timesteps.items():
      # The first timestep of an episode has no reward: it is None.
      self._remaining[slot] -= float(timestep.reward or 0.0)
      remaining = percent(self._remaining[slot], self._target.expert_return)

      observation = {**timestep.observation, RETURN_TO_GO: remaining}
      conditioned[slot] = timestep._replace(observation=observation)

    return self._actor.act(conditioned)
