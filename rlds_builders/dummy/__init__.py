"""A dot that walks to coloured squares: every kind of field, no dependency; the folder to copy."""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="dummy",
  tasks=("reach", "reach_discrete"),
  weight=1.0,
  environment="rlds_builders.dummy.environment:make",
  expert="rlds_builders.dummy.expert:make",
  agent_id="straight-line-v1",
  max_text_tokens={"instruction": 12},
)
