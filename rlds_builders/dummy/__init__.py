"""Every modality in a world without dependencies: the folder to copy for a new domain."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="dummy",
  tasks=("reach", "reach_discrete"),
  weight=1.0,
  environment="rlds_builders.dummy.environment:make",
  expert="rlds_builders.dummy.expert:make",
  agent_id="straight-line-v1",
  max_text_tokens={"instruction": 12},
)
