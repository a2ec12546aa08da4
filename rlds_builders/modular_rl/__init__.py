"""Limb subsets of walker2d, hopper and humanoid (Huang et al. 2020).

The row "Modular RL" of the paper's table 1. Imports no simulator.
"""

from gato_jax.domain import SimulatedDomain
from rlds_builders.modular_rl import morphologies

_MORPHOLOGIES = morphologies.actuated()

DOMAIN = SimulatedDomain(
  name="modular_rl",
  tasks=tuple(_MORPHOLOGIES),
  weight=8.23,
  environment="rlds_builders.modular_rl.environment:make",
  expert="rlds_builders.modular_rl.expert:make",
  agent_id="mpc-v1",
  held_out=tuple(
    task
    for task, (base, limbs) in _MORPHOLOGIES.items()
    if not morphologies.used_by_default(base, limbs)
  ),
)
