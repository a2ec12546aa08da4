"""D4RL's locomotion tasks: recorded episodes, no simulator."""

from gato_jax.domain import RecordedDomain, Source

# Task -> dataset and config, e.g. "ant-expert".
DATASETS = {
  f"{robot}-{quality}": f"tfds:d4rl_mujoco_{robot}/v2-{quality}"
  for robot in ("ant", "halfcheetah", "hopper", "walker2d")
  for quality in ("expert", "medium-expert", "full-replay")
}
DOMAIN = RecordedDomain(
  name="d4rl_mujoco",
  tasks=tuple(DATASETS),
  weight=0.0,  # not part of the paper's mixture
  agent_id="d4rl-sac",
  sources={
    task: Source(dataset, observation={"state": "observation"})
    for task, dataset in DATASETS.items()
  },
)
