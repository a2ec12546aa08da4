"""The DeepMind Control Suite from pixels alone (Tassa et al. 2018).

The row "DM Control Suite Pixels" of the paper's table 1. Imports no simulator.
"""

from gato_jax.domain import SimulatedDomain
from rlds_builders.worlds.suite import tasks

DOMAIN = SimulatedDomain(
  name="control_suite_pixels",
  tasks=tasks.BENCHMARKING,
  weight=7.07,
  environment="rlds_builders.control_suite_pixels.environment:make",
  expert="rlds_builders.control_suite.expert:make",
  agent_id="mpc-v1",
  held_out=tasks.HELD_OUT,
)
