"""Experts whose actions are changed before they are executed, and checked environments.

The log keeps both: `action`, which was executed and which the next state follows from, and
`expert_action`, which the expert itself would have taken. A policy that is cloned from undisturbed
episodes never sees how to return to the expert's path, which the expert hardly ever leaves (Laskey
et al. 2017, DART).
"""

from typing import Any

import dm_env
import numpy as np
from dm_env import specs as dm_specs

from gato_jax import randomness
from gato_jax.env import loop
from gato_jax.task import BadStep, TaskSpec, check_timestep

_PERTURBATION_STEPS = 10  # that a push or a mistake lasts


class PerturbedExpert:
  """An expert of which some actions are changed, as subclasses define.

  Attributes:
    expert_action: The expert's own action in the last step.
  """

  def __init__(self, expert: Any, task: str, spec: dm_specs.BoundedArray):
    """Initializes the expert.

    Args:
      expert: Has reset(seed) and act(timestep); may be a PerturbedExpert itself.
      task: "domain.task", a part of the random streams' keys.
      spec: The action spec.
    """
    self._expert = expert
    self._task = task
    self._spec = spec
    self.expert_action: Any = None

  def reset(self, seed: int) -> None:
    self._expert.reset(seed)
    self._seed = seed
    self._step = 0

  def act(self, timestep: dm_env.TimeStep | None) -> Any:
    """Returns the action to execute. The expert acts in every step, since it may keep a plan."""
    where = f"seed {self._seed}, step {self._step}"
    action = loop.check_action(self._spec, self._expert.act(timestep), where=where)

    # The innermost expert's own action, where one perturbation wraps another.
    self.expert_action = getattr(self._expert, "expert_action", action)

    executed = self._perturb(action, timestep)
    if not np.array_equal(executed, action):
      self.executed(executed)

    self._step += 1
    return executed

  def executed(self, action: Any) -> None:
    """Tells the expert, if it wants to know, that another action than its own was executed."""
    if tell := getattr(self._expert, "executed", None):
      tell(action)

  def _perturb(self, action: Any, timestep: dm_env.TimeStep | None) -> Any:
    """Returns the action that is executed in place of `action`."""
    raise NotImplementedError


class PushedExpert(PerturbedExpert):
  """Adds an offset to the action: one is drawn every 10 steps, with probability 1/2."""

  _PROBABILITY = 0.5

  def __init__(self, expert: Any, task: str, spec: dm_specs.BoundedArray, size: float):
    """Initializes the expert.

    Args:
      expert: As in PerturbedExpert.
      task: As in PerturbedExpert.
      spec: As in PerturbedExpert.
      size: The largest offset, as a share of each action's range.
    """
    super().__init__(expert, task, spec)
    self._size = size

  def reset(self, seed: int) -> None:
    super().reset(seed)
    self._random = randomness.generator(f"push/{self._task}", seed)

  def _perturb(self, action: Any, timestep: dm_env.TimeStep | None) -> np.ndarray:
    spec = self._spec

    if self._step % _PERTURBATION_STEPS == 0:
      # Both are drawn, used or not: episodes that were collected before depend on the order of the
      # draws.
      is_pushed = self._random.random() < self._PROBABILITY
      offset = self._random.uniform(-1, 1, spec.shape) * self._size * (spec.maximum - spec.minimum)
      self._offset = offset if is_pushed else np.zeros_like(offset)

    return np.clip(action + self._offset, spec.minimum, spec.maximum).astype(spec.dtype)


class ExpertWithMistakes(PerturbedExpert):
  """Takes a random action for 10 steps now and then, so that returns of all sizes come about."""

  def __init__(self, expert: Any, task: str, spec: dm_specs.BoundedArray, share: float):
    """Initializes the expert.

    Args:
      expert: As in PerturbedExpert.
      task: As in PerturbedExpert.
      spec: As in PerturbedExpert.
      share: The largest share of mistakes; each episode draws a share of its own up to it.
    """
    super().__init__(expert, task, spec)
    self._random_actor = loop.RandomExpert(spec, f"mistake of {task}")
    self._share = share

  def reset(self, seed: int) -> None:
    super().reset(seed)
    self._random_actor.reset(seed)
    self._random = randomness.generator(f"mistakes/{self._task}", seed)
    self._probability = self._random.uniform(0, self._share)
    self._mistake: np.ndarray | None = None

  def _perturb(self, action: Any, timestep: dm_env.TimeStep | None) -> Any:
    if self._step % _PERTURBATION_STEPS == 0:
      is_mistaken = self._random.random() < self._probability
      self._mistake = self._random_actor.act(timestep) if is_mistaken else None
    return action if self._mistake is None else self._mistake


class CorrectedPolicy(PerturbedExpert):
  """A policy that acts while an expert beside it says what it would have done (Ross et al. 2011).

  Each step executes the expert's action with a probability, otherwise the policy's.
  """

  def __init__(
    self, expert: Any, policy: loop.Actor, task: str, spec: dm_specs.BoundedArray, beta: float
  ):
    """Initializes the policy.

    Args:
      expert: As in PerturbedExpert.
      policy: Acts in every step, since its memory must not have gaps.
      task: As in PerturbedExpert.
      spec: As in PerturbedExpert.
      beta: Probability that a step executes the expert's action.
    """
    super().__init__(expert, task, spec)
    self._policy = policy
    self._beta = beta

  def reset(self, seed: int) -> None:
    super().reset(seed)
    self._policy.reset(0, seed)
    self._random = randomness.generator(f"correction/{self._task}", seed)

  def _perturb(self, action: Any, timestep: dm_env.TimeStep | None) -> Any:
    assert timestep is not None
    policy_action = self._policy.act({0: timestep})[0]
    return action if self._random.random() < self._beta else policy_action


class CheckedEnvironment:
  """Checks every timestep of an environment against its spec.

  reset() and step() raise BadStep, which names task, seed, step and key. Everything else is the
  environment's own.
  """

  def __init__(self, environment: Any, spec: TaskSpec):
    self._environment = environment
    self._spec = spec
    self._seed = 0
    self._step = 0

  def __getattr__(self, name: str) -> Any:
    return getattr(self._environment, name)

  def seed(self, seed: int) -> None:
    self._seed = seed
    self._environment.seed(seed)

  def reset(self) -> dm_env.TimeStep:
    self._step = 0
    timestep = self._environment.reset()

    if not timestep.first():
      raise BadStep(
        f"{self._where}: reset() must return a first timestep, this one is {timestep.step_type!r}"
      )
    return self._checked(timestep)

  def step(self, action: Any) -> dm_env.TimeStep:
    self._step += 1
    timestep = self._environment.step(action)

    if timestep.first():
      raise BadStep(f"{self._where}: step() began another episode in the middle of one")
    return self._checked(timestep)

  @property
  def _where(self) -> str:
    return f"{self._spec.name}, seed {self._seed}, step {self._step}"

  def _checked(self, timestep: dm_env.TimeStep) -> dm_env.TimeStep:
    check_timestep(self._spec, timestep, where=self._where)
    return timestep
