"""RLDS dataset of the playroom: `tfds build` in this folder, one config per task."""

from rlds_builders import playroom
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the expert that walks the shortest path."""

  DOMAIN = playroom.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(playroom.DOMAIN)
