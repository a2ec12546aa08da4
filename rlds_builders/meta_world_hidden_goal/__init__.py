"""Meta-World's reach and push with a goal that only a prompt shows.

A domain of ours for studies of prompts (docs/history.md); no row of the paper's table. Imports no
simulator.
"""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="meta_world_hidden_goal",
  tasks=("push-v3", "push-v3-new", "reach-v3", "reach-v3-new"),
  weight=0.0,
  environment="rlds_builders.meta_world.hidden_goal:make",
  expert="rlds_builders.meta_world.hidden_goal:make_expert",
  agent_id="scripted-v3",
  held_out=("push-v3-new", "reach-v3-new"),
)
