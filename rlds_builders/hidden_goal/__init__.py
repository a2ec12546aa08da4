"""A grid with a goal that no observation shows: only a prompt tells where it is.

A domain of ours for studies of prompts (docs/history.md); no row of the paper's table.
"""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="hidden_goal",
  tasks=("known", "new"),
  weight=0.0,
  environment="rlds_builders.hidden_goal.environment:make",
  expert="rlds_builders.hidden_goal.expert:make",
  agent_id="straight-line-v1",
  held_out=("new",),
)
