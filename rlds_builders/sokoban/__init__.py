"""Sokoban: push every box onto a target; a wrong push cannot be undone."""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="sokoban",
  tasks=("boxes_1", "boxes_2", "boxes_4"),
  weight=1.33,
  environment="rlds_builders.sokoban.environment:make",
  expert="rlds_builders.sokoban.expert:make",
  agent_id="astar-v1",
)
