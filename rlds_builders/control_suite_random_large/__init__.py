"""The control suite on bodies that are redrawn for every episode, with large variations.

The row "DM Control Suite Random Large" of the paper's table 1. Imports no simulator.
"""

from gato_jax.domain import SimulatedDomain
from rlds_builders.worlds.suite import tasks

DOMAIN = SimulatedDomain(
  name="control_suite_random_large",
  tasks=tasks.RANDOMISED,
  weight=3.04,
  environment="rlds_builders.control_suite_random_large.environment:make",
  expert="rlds_builders.control_suite.expert:make",
  agent_id="mpc-v1",
  held_out=tasks.HELD_OUT,
)
