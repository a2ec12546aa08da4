"""The DeepMind Control Suite from states (Tassa et al. 2018).

The row "DM Control Suite" of the paper's table 1. Imports no simulator.
"""

from gato_jax.domain import SimulatedDomain
from rlds_builders.worlds.suite import tasks

DOMAIN = SimulatedDomain(
  name="control_suite",
  tasks=tasks.ALL,
  weight=4.62,
  environment="rlds_builders.control_suite.environment:make",
  expert="rlds_builders.control_suite.expert:make",
  agent_id="mpc-v1",
  held_out=tasks.HELD_OUT,
)
