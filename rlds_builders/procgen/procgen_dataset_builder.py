"""RLDS dataset of Procgen: `tfds build` in this folder, one config per game."""

from rlds_builders import procgen
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of planners that search on saved states of the game."""

  DOMAIN = procgen.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(procgen.DOMAIN)
