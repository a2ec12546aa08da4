"""RGB stacking."""

import ml_collections

from experiments.configs import default


def get_config() -> ml_collections.ConfigDict:
  config = default.get_config("tiny")
  config.name = "rgb_stacking"
  config.domains = default.domains(rgb_stacking=1.0)
  config.collect.update(episodes=40, workers=1, shard_episodes=5, episode_seconds=600.0)
  config.collect.disturbance = ml_collections.ConfigDict(dict(rgb_stacking=0.15))
  return config
