"""RL Unplugged's control suite: recorded episodes, no simulator."""

from gato_jax.domain import RecordedDomain, Source

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
DOMAIN = RecordedDomain(
  name="unplugged_control_suite",
  tasks=TASKS,
  weight=0.0,  # not part of the paper's mixture
  agent_id="rlu-recorded",
  sources={task: Source(f"tfds:rlu_control_suite/{task}") for task in TASKS},
)
