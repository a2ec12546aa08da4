"""The control suite on bodies redrawn every episode, with large variations (GATO_SPEC section 4)."""

from rlds_builders.control_suite_random_small import environment as small

LARGE = ((0.6, 0.8), (1.2, 1.4))


def make(task: str) -> small.RandomisedControlSuite:
  """The suite's task, e.g. "reacher-easy", with large variations."""
  return small.RandomisedControlSuite(task, LARGE)
