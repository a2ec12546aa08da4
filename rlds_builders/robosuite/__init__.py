"""Robosuite's pick and place: recorded episodes, no simulator."""

from gato_jax.domain import RecordedDomain, Source

# Task -> config of the dataset.
DATASETS = {
  "can-human": "human_dc29b40a",
  "can-human-images": "human_images_dc29b40a",
  "can-sac": "synthetic_stochastic_sac_afe13968",
}

# Our key -> path in a step.
STATE = {"object": "observation/object-state", "robot": "observation/robot0_proprio-state"}
OBSERVATIONS = {
  "can-human": STATE,
  "can-human-images": {"camera": "image", "robot": "observation/robot0_proprio-state"},
  "can-sac": STATE,
}
DOMAIN = RecordedDomain(
  name="robosuite",
  tasks=tuple(DATASETS),
  weight=0.0,  # not part of the paper's mixture
  agent_id="robosuite-recorded",
  sources={
    task: Source(
      f"tfds:robosuite_panda_pick_place_can/{config}",
      observation=OBSERVATIONS[task],
      image_size=(128, 128),
    )
    for task, config in DATASETS.items()
  },
)
