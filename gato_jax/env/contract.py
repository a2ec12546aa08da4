"""dm_env's own tests of an environment, without a test runner; every domain passes them.

Simulators run in this process, so TensorFlow must not be imported.
"""

import unittest
from collections.abc import Iterator
from typing import Any

import dm_env
from dm_env import test_utils

from gato_jax import errors
from gato_jax.env import loop

_FRESH_TEST = "test_step_on_fresh_environment"


def broken_rules(environment: dm_env.Environment, steps: int = 20) -> list[str]:
  """Returns the rules of dm_env's EnvironmentTestMixin that an environment breaks, a line each.

  Args:
    environment: A new one that was neither reset nor stepped. All tests share it, since some
      simulators take ten seconds to make; it is left open.
    steps: Number of random actions in the longest test. The rules for the end of an episode are
      only tested if one ends within them.
  """
  names = unittest.defaultTestLoader.getTestCaseNames(_ContractTest)

  # The test of a fresh environment comes first: after any other test it is fresh no more.
  names = sorted(names, key=lambda name: name != _FRESH_TEST)

  result = _ViolationCollector()
  tests = [_ContractTest(name, environment, steps) for name in names]
  unittest.TestSuite(tests).run(result)

  # Several tests may break the same rule: each is reported once, in the order of discovery.
  return list(dict.fromkeys(result.lines))


class _ContractTest(test_utils.EnvironmentTestMixin, unittest.TestCase):
  """The mixin with random actions: it repeats one, with which most simulators stand still."""

  # The mixin's messages are the rules. With `longMessage`, unittest would put the compared values
  # before them.
  longMessage = False

  def __init__(self, name: str, environment: dm_env.Environment, steps: int):
    super().__init__(name)
    self._environment = environment
    self._steps = steps
    self._expert = loop.RandomExpert(environment.action_spec(), "environment contract")

  def make_object_under_test(self) -> dm_env.Environment:
    return self._environment

  def tearDown(self) -> None:
    """Leaves the environment open for the next test, where the mixin would close it."""

  def make_action(self) -> Any:
    return self._expert.act(None)

  def make_action_sequence(self) -> Iterator[Any]:
    for _ in range(self._steps):
      yield self.make_action()


class _ViolationCollector(unittest.TestResult):
  """Collects a line for each test in which a rule was broken or the environment raised.

  Attributes:
    lines: The broken rules and the errors.
  """

  def __init__(self) -> None:
    super().__init__()
    self.lines: list[str] = []

  def addFailure(self, test, err) -> None:
    del test
    _, error, trace = err
    while trace.tb_next:
      trace = trace.tb_next

    # Raised by an assertion of the mixin: its text is the rule. Anything else is the environment's
    # own error, of which the user needs the type and the line as well.
    module = trace.tb_frame.f_globals.get("__name__", "")
    is_rule = module.partition(".")[0] in ("dm_env", "unittest")
    self.lines.append(errors.one_line(error) if is_rule else errors.describe(error))

  addError = addFailure
