"""A domain for tests of evaluation: dummy's environments with the faults of simulators.

The task's name and the seed decide which fault occurs, unless the file named by
BROKEN_DOMAIN_MENDED exists.
"""

import os
import signal
import sys
import time

import numpy as np

from gato_jax.domain import SimulatedDomain
from gato_jax.randomness import FIRST_EVALUATION_SEED
from rlds_builders.dummy import environment

BAD_SEED = FIRST_EVALUATION_SEED + 1
DOMAIN = SimulatedDomain(
  name="broken",
  tasks=("fine", "slow", "crash", "hang", "raises", "nan", "never", "imports"),
  weight=1.0,
  environment="broken_domain:make",
  expert="rlds_builders.dummy.expert:make",
  max_text_tokens={"instruction": 12},
)


# Its pictures cannot be drawn in a process that has made an environment of the other domain.
OTHER = SimulatedDomain(
  name="other", tasks=("fine",), weight=1.0, environment="broken_domain:make_other"
)
other_is_made = False


def mended() -> bool:
  return os.path.exists(os.environ.get("BROKEN_DOMAIN_MENDED", ""))


class Broken(environment.Reach):
  """Environment that fails in the third step of the episodes of BAD_SEED."""

  def __init__(self, task: str):
    super().__init__(discrete=False)
    self._task = task
    self._bad, self._spoiled = False, False

  def seed(self, seed: int) -> None:
    super().seed(seed)
    assert not self._spoiled, "after an error the environment must be another one"
    self._bad = seed == BAD_SEED and not mended()

  def render(self):
    assert not other_is_made
    return super().render()

  def step(self, action):
    timestep = super().step(action)
    if self._task == "slow":
      time.sleep(0.01)
    if self._bad and timestep.observation["clock"][0] == 3:
      self._go_wrong(timestep)
    return timestep

  def _go_wrong(self, timestep) -> None:
    if self._task == "crash":
      os.kill(os.getpid(), signal.SIGSEGV)
    if self._task == "hang":
      time.sleep(1e6)
    if self._task == "raises":
      self._spoiled = True
      raise ValueError("the simulator\nis broken")

    if self._task == "nan":
      timestep.observation["body"]["velocity"][:] = np.nan


def make(task: str) -> environment.Reach:
  if task == "never" and not mended():
    os._exit(3)
  if task == "imports":
    raise ValueError(
      f"imported: {sorted({'jax', 'tensorflow', 'flax', 'matplotlib', 'arch'} & set(sys.modules))}"
    )

  return Broken(task)


def make_other(task: str) -> environment.Reach:
  global other_is_made
  other_is_made = True
  del task
  return environment.Reach(discrete=False)


def make_discrete(task: str) -> environment.Reach:
  """Makes an environment with another action spec than in training."""
  del task
  return environment.Reach(discrete=True)
