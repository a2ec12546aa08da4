"""First-person 3D tasks of many kinds, for the row "DM Lab" of the paper's table 1.

Imports no simulator.
"""

import importlib.util

from gato_jax.domain import SimulatedDomain

DM_LAB = "dmlab_"  # prefix of the names of DeepMind Lab's own levels
DM_LAB_INSTALLED = importlib.util.find_spec("deepmind_lab") is not None

# The levels of DMLab-30, and one more of which recordings are published.
_DM_LAB_LEVELS = (
  "explore_goal_locations_large",
  "explore_goal_locations_small",
  "explore_object_locations_large",
  "explore_object_locations_small",
  "explore_object_rewards_few",
  "explore_object_rewards_many",
  "explore_obstructed_goals_large",
  "explore_obstructed_goals_small",
  "language_answer_quantitative_question",
  "language_execute_random_task",
  "language_select_described_object",
  "language_select_located_object",
  "lasertag_one_opponent_large",
  "lasertag_one_opponent_small",
  "lasertag_three_opponents_large",
  "lasertag_three_opponents_small",
  "natlab_fixed_large_map",
  "natlab_varying_map_randomized",
  "natlab_varying_map_regrowth",
  "psychlab_arbitrary_visuomotor_mapping",
  "psychlab_continuous_recognition",
  "psychlab_sequential_comparison",
  "psychlab_visual_search",
  "rooms_collect_good_objects_test",
  "rooms_collect_good_objects_train",
  "rooms_exploit_deferred_effects_test",
  "rooms_exploit_deferred_effects_train",
  "rooms_keys_doors_puzzle",
  "rooms_select_nonmatching_object",
  "rooms_watermaze",
  "seekavoid_arena_01",
)

# These tasks have no expert, so they are for evaluation only, and held out: a config has to name
# them.
_DM_LAB_TASKS = tuple(DM_LAB + level for level in _DM_LAB_LEVELS) if DM_LAB_INSTALLED else ()
_DM_LAB_LANGUAGE_TASKS = tuple(
  task for task in _DM_LAB_TASKS if task.startswith(DM_LAB + "language_")
)

DOMAIN = SimulatedDomain(
  name="labyrinth",
  tasks=(
    "alcoves",
    "apples_in_order",
    "boxes_in_order",
    "collect_health",
    "doom_health_gathering",
    "doom_health_gathering_supreme",
    "doom_my_way_home",
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
    *_DM_LAB_TASKS,
  ),
  weight=9.35,
  environment="rlds_builders.labyrinth.environment:make",
  expert="rlds_builders.labyrinth.expert:make",
  agent_id="shortest-path-v1",
  task_text_tokens={task: {"instruction": 32} for task in _DM_LAB_LANGUAGE_TASKS},
  # The first stands for order_of_apples_forage_simple, which the paper holds out (Reed et al.
  # 2022, section 5.2).
  held_out=("apples_in_order", *_DM_LAB_TASKS),
)
