"""RLDS dataset of the playroom: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, playroom


class Builder(_builder.EpisodeBuilder):
  """Episodes of the expert that walks the shortest path."""

  DOMAIN = playroom.DOMAIN
  BUILDER_CONFIGS = _builder.configs(playroom.DOMAIN)
