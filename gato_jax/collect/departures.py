"""Experts whose actions are changed before they are executed, and the environment that checks every step.

The log keeps both: `action`, which was executed and which the next state follows from, and `expert_action`, which the
expert itself would have taken. A clone of undisturbed episodes never sees how to come back to the expert's path, which
the expert hardly ever leaves (Laskey et al. 2017, DART).
"""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs as dm_specs

from gato_jax import environment_loop, randomness, specs

_HELD_STEPS = 10  # a push, or a mistake, lasts as long


class Departure:
  """An expert of which some actions are changed. Subclasses say how.

  Attributes:
    expert_action: what the expert itself would have done in the last step.
  """

  def __init__(self, expert: Any, task: str, spec: dm_specs.BoundedArray):
    """`task`: "domain.task", a part of the random streams' keys. `spec`: of the action."""
    self._expert, self._task, self._spec = expert, task, spec
    self.expert_action: Any = None

  def reset(self, seed: int) -> None:
    self._expert.reset(seed)
    self._seed, self._step = seed, 0

  def act(self, timestep: dm_env.TimeStep) -> Any:
    """Returns the action to execute. The expert is asked in every step, since it may keep a plan."""
    where = f"seed {self._seed}, step {self._step}"
    action = environment_loop.check_action(self._spec, self._expert.act(timestep), where)
    self.expert_action = getattr(self._expert, "expert_action", action)  # of departures within departures

    executed = self._changed(action, timestep)
    self._step += 1
    return executed

  def _changed(self, action: Any, timestep: dm_env.TimeStep) -> Any:
    raise NotImplementedError


class Pushed(Departure):
  """Adds an offset to the action: every 10 steps, with probability 1/2, one is drawn and added to the next 10.

  Args:
    size: the largest offset, as a share of each action's range.
  """

  _PROBABILITY = 0.5

  def __init__(self, expert: Any, task: str, spec: dm_specs.BoundedArray, size: float):
    super().__init__(expert, task, spec)
    self._size = size

  def reset(self, seed: int) -> None:
    super().reset(seed)
    self._random = randomness.generator(f"push/{self._task}", seed)

  def _changed(self, action: Any, timestep: dm_env.TimeStep) -> np.ndarray:
    spec = self._spec
    if self._step % _HELD_STEPS == 0:
      is_pushed = self._random.random() < self._PROBABILITY
      offset = self._random.uniform(-1, 1, spec.shape) * self._size * (spec.maximum - spec.minimum)
      self._offset = offset if is_pushed else np.zeros_like(offset)

    return np.clip(action + self._offset, spec.minimum, spec.maximum).astype(spec.dtype)


class Mistaken(Departure):
  """Takes a random action for 10 steps now and then, so that returns of all sizes come about.

  Args:
    share: the largest share of mistakes; each episode draws a share of its own up to it.
  """

  def __init__(self, expert: Any, task: str, spec: dm_specs.BoundedArray, share: float):
    super().__init__(expert, task, spec)
    self._random_actor, self._share = environment_loop.RandomExpert(spec, f"mistake of {task}"), share

  def reset(self, seed: int) -> None:
    super().reset(seed)
    self._random_actor.reset(seed)
    self._random = randomness.generator(f"mistakes/{self._task}", seed)
    self._probability = self._random.uniform(0, self._share)
    self._mistake = None

  def _changed(self, action: Any, timestep: dm_env.TimeStep) -> Any:
    if self._step % _HELD_STEPS == 0:
      is_mistaken = self._random.random() < self._probability
      self._mistake = self._random_actor.act(timestep) if is_mistaken else None
    return action if self._mistake is None else self._mistake


class Checked:
  """An environment whose every timestep must be what its spec says; everything else is the environment's own.

  Raises (reset, step):
    specs.BadStep: names task, seed, step and key.
  """

  def __init__(self, environment: Any, spec: specs.TaskSpec):
    self._environment, self._spec = environment, spec
    self._seed, self._step = 0, 0

  def __getattr__(self, name: str) -> Any:
    return getattr(self._environment, name)

  def seed(self, seed: int) -> None:
    self._seed = seed
    self._environment.seed(seed)

  def reset(self) -> dm_env.TimeStep:
    self._step = 0
    timestep = self._environment.reset()
    if not timestep.first():
      raise specs.BadStep(f"{self._where}: reset() must return a first timestep, this one is {timestep.step_type!r}")
    return self._valid(timestep)

  def step(self, action: Any) -> dm_env.TimeStep:
    self._step += 1
    timestep = self._environment.step(action)
    if timestep.first():
      raise specs.BadStep(f"{self._where}: step() began another episode in the middle of one")
    return self._valid(timestep)

  @property
  def _where(self) -> str:
    return f"{self._spec.name}, seed {self._seed}, step {self._step}"

  def _valid(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    specs.check_timestep(self._spec, timestep, self._where)
    return timestep
