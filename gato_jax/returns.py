"""Return conditioning (docs/returns.md): the return-to-go as training has it, and as an actor is asked for it."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import dm_env
import numpy as np

from gato_jax.environment_loop import Actor
from gato_jax.errors import GatoError
from gato_jax.specs import RETURN_TO_GO, TaskSpec


def to_go(rewards: np.ndarray) -> np.ndarray:
  """Rewards [n] of an episode's steps -> float32 [n], each step's reward and all that follow, undiscounted."""
  return np.cumsum(rewards[::-1], dtype=np.float64)[::-1].astype(np.float32)


def percent(returns: Any, expert_return: float) -> Any:
  """Returns in per cent of the expert's, float32; where that is negative, more per cent are a higher return, too."""
  return np.asarray(100 * np.asarray(returns, np.float64) / abs(expert_return), np.float32)


@dataclasses.dataclass(frozen=True)
class Asked:
  """The return of an episode that is asked for.

  Attributes:
    expert_return: of the checkpoint. target: in units of it; t is expert + (t - 1) |expert|, as data.keep counts.
  """

  expert_return: float
  target: float

  @property
  def episode_return(self) -> float:
    return self.expert_return + (self.target - 1) * abs(self.expert_return)


def asked(spec: TaskSpec, target: float) -> Asked | None:
  """What to ask an actor of this spec for, None where it was not trained to be asked.

  Raises:
    GatoError: it was not, and another return than the expert's is wanted.
  """
  if spec.expert_return is not None:
    return Asked(spec.expert_return, target)
  if target != 1.0:
    raise GatoError(
      f"act.return_target={target:g}: {spec.name} was trained without returns, so none can be asked for; "
      "train with --config.data.returns=True, or leave act.return_target at 1"
    )
  return None


class Asking:
  """An actor that is told in every step what is left of the return asked for: it, minus the rewards that came."""

  def __init__(self, actor: Actor, wanted: Asked):
    self._actor, self._wanted = actor, wanted
    self._left: dict[int, float] = {}

  def reset(self, slot: int, seed: int) -> None:
    self._left[slot] = self._wanted.episode_return
    self._actor.reset(slot, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> Mapping[int, Any]:
    told = {}
    for slot, timestep in timesteps.items():
      self._left[slot] -= float(timestep.reward or 0.0)
      left = percent(self._left[slot], self._wanted.expert_return)
      told[slot] = timestep._replace(observation={**timestep.observation, RETURN_TO_GO: left})
    return self._actor.act(told)
