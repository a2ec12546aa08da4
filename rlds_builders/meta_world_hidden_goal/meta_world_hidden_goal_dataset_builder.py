"""RLDS dataset of meta_world_hidden_goal: `tfds build` in this folder, one config per task."""

from rlds_builders import meta_world_hidden_goal
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the scripted policies, which know the goal."""

  DOMAIN = meta_world_hidden_goal.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(meta_world_hidden_goal.DOMAIN)
