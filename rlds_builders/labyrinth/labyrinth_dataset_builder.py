"""RLDS dataset of the labyrinth: `tfds build` in this folder, one config per task."""

from rlds_builders import labyrinth
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the expert that walks the shortest path."""

  DOMAIN = labyrinth.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(labyrinth.DOMAIN)
