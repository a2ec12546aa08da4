"""Robosuite's pick and place of TFDS' catalogue: recorded episodes, no simulator."""

from gato_jax import specs

DATASETS = {
  "can-human": "human_dc29b40a",
  "can-human-images": "human_images_dc29b40a",
  "can-sac": "synthetic_stochastic_sac_afe13968",
}
STATE = {"object": "observation/object-state", "robot": "observation/robot0_proprio-state"}
OBSERVATIONS = {
  "can-human": STATE,
  "can-human-images": {"camera": "image", "robot": "observation/robot0_proprio-state"},
  "can-sac": STATE,
}
DOMAIN = specs.Domain(
  name="robosuite",
  tasks=tuple(DATASETS),
  weight=0.0,  # not of the paper's mixture
  agent_id="robosuite-recorded",
  sources={
    task: specs.Source(
      f"tfds:robosuite_panda_pick_place_can/{config}", observation=OBSERVATIONS[task], image_size=(128, 128)
    )
    for task, config in DATASETS.items()
  },
)
