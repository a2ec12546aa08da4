"""RL Unplugged's DeepMind Lab: recorded episodes of R2D2, no simulator."""

from gato_jax.domain import RecordedDomain, Source

# Task -> dataset and config. Runs training_1 and _2, and other snapshots, are one more line each.
DATASETS = {
  "explore_object_rewards_few": "explore_object_rewards_few/training_0",
  "explore_object_rewards_many": "explore_object_rewards_many/training_0",
  "rooms_select_nonmatching_object": "rooms_select_nonmatching_object/training_0",
  "rooms_watermaze": "rooms_watermaze/training_0",
  "seekavoid_arena_01": "seekavoid_arena01/training_0",
  "seekavoid_arena_01-snapshot": "seekavoid_arena01/snapshot_0_eps_0.0",
}
# Number of actions of R2D2.
ACTIONS = 15

DOMAIN = RecordedDomain(
  name="unplugged_dmlab",
  tasks=tuple(DATASETS),
  weight=0.0,  # rlds_builders/labyrinth has the paper's row
  agent_id="rlu-r2d2",
  sources={
    task: Source(
      f"tfds:rlu_dmlab_{dataset}",
      observation={"image": "observation/pixels"},
      # Resized from 72x96.
      image_size=(64, 80),
      choices=ACTIONS,
    )
    for task, dataset in DATASETS.items()
  },
)
