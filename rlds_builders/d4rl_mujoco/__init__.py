"""D4RL's locomotion tasks of TFDS' catalogue: recorded episodes, no simulator."""

from gato_jax import specs

DATASETS = {
  f"{robot}-{quality}": f"tfds:d4rl_mujoco_{robot}/v2-{quality}"
  for robot in ("ant", "halfcheetah", "hopper", "walker2d")
  for quality in ("expert", "medium-expert", "full-replay")
}
DOMAIN = specs.Domain(
  name="d4rl_mujoco",
  tasks=tuple(DATASETS),
  weight=0.0,  # not of the paper's mixture
  agent_id="d4rl-sac",
  sources={task: specs.Source(dataset, observation={"state": "observation"}) for task, dataset in DATASETS.items()},
)
