"""Limb subsets of walker2d, hopper and humanoid (Huang et al. 2020); the "Modular RL" of Gato's Table 1."""

from gato_jax import specs
from rlds_builders.modular_rl import morphologies

_ALL = morphologies.actuated()

DOMAIN = specs.Domain(
  name="modular_rl",
  tasks=tuple(_ALL),
  weight=8.23,
  environment="rlds_builders.modular_rl.environment:make",
  expert="rlds_builders.modular_rl.expert:make",
  agent_id="mpc-v1",
  held_out=tuple(task for task, morphology in _ALL.items() if not morphologies.used_by_default(*morphology)),
)
