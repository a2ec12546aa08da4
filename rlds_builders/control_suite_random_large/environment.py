"""Suite tasks on randomised bodies with large variations."""

from rlds_builders.worlds.suite.randomised import RandomisedControlSuite

LARGE = ((0.6, 0.8), (1.2, 1.4))


def make(task: str) -> RandomisedControlSuite:
  """Returns the environment of a suite task, e.g. "reacher-easy"."""
  return RandomisedControlSuite(task, LARGE)
