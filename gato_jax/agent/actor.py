"""Acts for copies of one task's environment."""

from collections.abc import Mapping

import dm_env
import numpy as np

from gato_jax.agent.engine import Engine
from gato_jax.task import flatten


class GatoActor:
  """Acts for copies of one task's environment (env.loop.Actor); an environment's index is its slot.

  Attributes:
    engine: Engine that acts.
  """

  def __init__(self, engine: Engine, task: str):
    self.engine = engine
    self._task = task

  def reset(self, slot: int, seed: int) -> None:
    """Begins an episode in a slot."""
    self.engine.start(slot, self._task, seed)

  def act(self, timesteps: Mapping[int, dm_env.TimeStep]) -> dict[int, np.ndarray]:
    """Returns an action for each slot's newest timestep."""
    observations = {
      slot: self.engine.pack(self._task, flatten(timestep.observation))
      for slot, timestep in timesteps.items()
    }
    return self.engine.act(observations)
