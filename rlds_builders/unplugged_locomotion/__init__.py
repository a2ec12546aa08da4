"""RL Unplugged's locomotion tasks: recorded episodes with an egocentric camera, no simulator."""

from gato_jax.domain import RecordedDomain, Source

TASKS = (
  "humanoid_corridor",
  "humanoid_gaps",
  "humanoid_walls",
  "rodent_bowl_escape",
  "rodent_gaps",
  "rodent_mazes",
  "rodent_two_touch",
)
DOMAIN = RecordedDomain(
  name="unplugged_locomotion",
  tasks=TASKS,
  weight=0.0,  # not part of the paper's mixture
  agent_id="rlu-recorded",
  sources={task: Source(f"tfds:rlu_locomotion/{task}") for task in TASKS},
)
