"""First-person 3D tasks of many kinds, for the paper's DM Lab row. Data only, no simulator."""

from gato_jax import specs

DOMAIN = specs.Domain(
  name="labyrinth",
  tasks=(
    "alcoves",
    "apples_in_order",
    "boxes_in_order",
    "collect_health",
    "explore_rooms",
    "forage",
    "forage_avoid",
    "forage_shapes",
    "four_rooms",
    "hallway",
    "key_door",
    "keys_doors",
    "match_sample",
    "maze_2x2",
    "maze_3x3",
    "maze_4x4",
    "obstacles",
    "odd_one_out",
    "one_room",
    "pickup_objects",
    "return_to_goal",
    "rooms_3x3",
    "sidewalk",
    "sign",
    "t_maze",
    "wall_gap",
    "y_maze",
  ),
  weight=9.35,
  environment="rlds_builders.labyrinth.environment:make",
  expert="rlds_builders.labyrinth.expert:make",
  agent_id="shortest-path-v1",
  held_out=("apples_in_order",),  # for the paper's order_of_apples_forage_simple (GATO_SPEC section 5)
)
