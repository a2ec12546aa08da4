"""Instructed 3D tasks, the stand-in for the paper's unpublished Playroom. Data only, no simulator."""

from gato_jax import specs

DOMAIN = specs.Domain(
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
  max_text_tokens={"instruction": 10},  # every reserved token is a token less of context
  task_text_tokens={task: {"instruction": 6} for task in ("go_to", "go_to_largest", "pick_up", "touch_all")},
)
