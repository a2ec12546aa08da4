"""RLDS dataset of the labyrinth: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, labyrinth


class Builder(_builder.EpisodeBuilder):
  """Episodes of the expert that walks the shortest path."""

  DOMAIN = labyrinth.DOMAIN
  BUILDER_CONFIGS = _builder.configs(labyrinth.DOMAIN)
