"""The DeepMind Control Suite without velocities, so that acting well takes a memory.

A variant of ours for studies of history (docs/history.md); no row of the paper's table. Imports no
simulator.
"""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="control_suite_positions",
  tasks=(
    "cartpole-balance",
    "cartpole-swingup",
    "pendulum-swingup",
    "point_mass-easy",
    "reacher-easy",
    "reacher-hard",
  ),
  weight=0.0,
  environment="rlds_builders.control_suite_positions.environment:make",
  expert="rlds_builders.control_suite.expert:make",
  agent_id="mpc-v1",
)
