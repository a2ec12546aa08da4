"""Suite tasks on randomised bodies with small variations."""

from rlds_builders.worlds.suite.randomised import RandomisedControlSuite

SMALL = ((0.9, 0.95), (1.05, 1.1))


def make(task: str) -> RandomisedControlSuite:
  """Returns the environment of a suite task, e.g. "reacher-easy"."""
  return RandomisedControlSuite(task, SMALL)
