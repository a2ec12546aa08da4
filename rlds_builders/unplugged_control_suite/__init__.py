"""RL Unplugged's control suite of TFDS' catalogue: recorded episodes, no simulator."""

from gato_jax import specs

TASKS = (
  "cartpole_swingup",
  "cheetah_run",
  "finger_turn_hard",
  "fish_swim",
  "humanoid_run",
  "manipulator_insert_ball",
  "manipulator_insert_peg",
  "walker_stand",
  "walker_walk",
)
DOMAIN = specs.Domain(
  name="unplugged_control_suite",
  tasks=TASKS,
  weight=0.0,  # not of the paper's mixture
  agent_id="rlu-recorded",
  sources={task: specs.Source(f"tfds:rlu_control_suite/{task}") for task in TASKS},
)
