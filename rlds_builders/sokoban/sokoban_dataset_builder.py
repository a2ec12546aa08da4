"""RLDS dataset of Sokoban: `tfds build` in this folder, one config per size of board."""

from rlds_builders import sokoban
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the A* solver."""

  DOMAIN = sokoban.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(sokoban.DOMAIN)
