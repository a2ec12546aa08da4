"""Instructed 3D tasks, which stand in for the paper's unpublished Playroom.

Imports no simulator.
"""

from gato_jax.domain import SimulatedDomain

DOMAIN = SimulatedDomain(
  name="playroom",
  tasks=(
    "go_to",
    "go_to_beside",
    "go_to_in_order",
    "go_to_largest",
    "go_to_not",
    "pick_up",
    "pick_up_in_order",
    "put_next_to",
    "touch_all",
  ),
  weight=1.33,
  environment="rlds_builders.playroom.environment:make",
  expert="rlds_builders.labyrinth.expert:make",
  agent_id="shortest-path-v1",
  # Tokens that are reserved for text are lost to the context, so short instructions reserve fewer.
  # The longest have 12 tokens of the small tokenizer and 10 of the large one.
  max_text_tokens={"instruction": 14},
  task_text_tokens={task: {"instruction": 10} for task in ("go_to", "pick_up")},
)
