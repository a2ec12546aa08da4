"""Every simulated domain keeps dm_env's contract, by dm_env's own tests.

Simulators run here, so no TensorFlow.
"""

import dm_env
import numpy as np
import pytest

import rlds_builders
from gato_jax.domain import SimulatedDomain
from gato_jax.env import contract
from rlds_builders.dummy import environment as dummy

pytestmark = pytest.mark.alone  # simulators run here, and TensorFlow in its neighbours

SLOW = ("rgb_stacking",)  # ten seconds to make an environment
TASKS = [
  pytest.param(domain, task, id=f"{name}.{task}", marks=[pytest.mark.slow] * (name in SLOW))
  for name, domain in rlds_builders.domains().items()
  if isinstance(domain, SimulatedDomain)
  for task in dict.fromkeys((domain.tasks[0], domain.tasks[-1]))
]


@pytest.mark.parametrize(("domain", "task"), TASKS)
def test_a_domain_keeps_the_contract(domain, task):
  environment = domain.make_environment(task)
  steps = 50 if domain.name == "dummy" else 20  # dummy's episodes end after 40
  assert not contract.broken_rules(environment, steps)
  environment.close()


class StartsRunning(dummy.Reach):
  def __init__(self, discrete):
    super().__init__(discrete)
    self._needs_reset = False


class NeverEnds(dummy.Reach):
  def step(self, action):
    self._success = False
    return super().step(action)._replace(step_type=dm_env.StepType.LAST, reward=0.0, discount=1.0)


class RewardsFirst(dummy.Reach):
  def reset(self):
    return super().reset()._replace(reward=0.0)


class RewardsWholeNumbers(dummy.Reach):
  def step(self, action):
    timestep = super().step(action)
    return timestep if timestep.first() else timestep._replace(reward=1)


class ObservesLists(dummy.Reach):
  def _observe(self):
    return super()._observe() | {"clock": [0]}


class Raises(dummy.Reach):
  def step(self, action):
    return np.zeros(2)[3]


@pytest.mark.parametrize(
  ("broken", "rule"),
  [
    (
      StartsRunning,
      "calling step() on a fresh environment must produce a step with step_type FIRST, got ",
    ),
    (NeverEnds, "step() must produce a FIRST step after a LAST step."),
    (RewardsFirst, "a FIRST step must not have a reward."),
    (
      RewardsWholeNumbers,
      "Expected dtype dtype('float64') but found dtype('int64') for spec reward.",
    ),
    (ObservesLists, "`spec` and `value` have mismatching structures"),
    (Raises, f"IndexError: index 3 is out of bounds for axis 0 with size 2 ({__file__}:"),
  ],
)
def test_a_broken_rule_is_a_line(broken, rule):
  lines = contract.broken_rules(broken(discrete=False))
  assert any(rule in line for line in lines) and all("\n" not in line for line in lines), lines
