"""RLDS dataset of hidden_goal: `tfds build` in this folder, one config per task."""

from rlds_builders import hidden_goal
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the expert, which knows the goal."""

  DOMAIN = hidden_goal.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(hidden_goal.DOMAIN)
