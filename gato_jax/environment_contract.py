"""dm_env's own tests of an environment, without a test runner: every domain's environments have to pass them.

Simulators run in this process, so TensorFlow must not.
"""

import unittest
from collections.abc import Iterator
from typing import Any

import dm_env
from dm_env import test_utils

from gato_jax import environment_loop, errors


def broken_rules(environment: dm_env.Environment, steps: int = 20) -> list[str]:
  """Returns the rules of `dm_env.test_utils.EnvironmentTestMixin` that an environment breaks, one line each.

  Args:
    environment: a fresh one, of which nothing was asked yet. It is used for all tests, since some simulators take ten
      seconds to make, and left open.
    steps: random actions of the longest test. The rules for the end of an episode are tested where it comes by then.
  """
  names = unittest.defaultTestLoader.getTestCaseNames(_Contract)
  names = sorted(names, key=lambda name: name != "test_step_on_fresh_environment")  # afterwards it is fresh no more
  result = _Violations()
  unittest.TestSuite(_Contract(name, environment, steps) for name in names).run(result)
  return list(dict.fromkeys(result.lines))


class _Contract(test_utils.EnvironmentTestMixin, unittest.TestCase):
  """The mixin with random actions: its default repeats one, in which most simulators stand still."""

  longMessage = False  # the mixin's messages are the rules; unittest would put the compared values before them

  def __init__(self, name: str, environment: dm_env.Environment, steps: int):
    super().__init__(name)
    self._environment, self._steps = environment, steps
    self._random = environment_loop.RandomExpert(environment.action_spec(), "environment contract")

  def make_object_under_test(self) -> dm_env.Environment:
    return self._environment

  def tearDown(self) -> None:
    """Leaves the environment open, where the mixin would close it."""

  def make_action(self) -> Any:
    return self._random.act(None)

  def make_action_sequence(self) -> Iterator[Any]:
    return (self.make_action() for _ in range(self._steps))


class _Violations(unittest.TestResult):
  """Keeps a line for each test that failed, whether a rule was broken or the environment raised."""

  def __init__(self):
    super().__init__()
    self.lines: list[str] = []

  def addFailure(self, test, err) -> None:
    del test
    _, error, trace = err
    while trace.tb_next:
      trace = trace.tb_next
    by_rule = trace.tb_frame.f_globals.get("__name__", "").partition(".")[0] in ("dm_env", "unittest")
    self.lines.append(errors.one_line(error) if by_rule else errors.describe(error))

  addError = addFailure
