"""TFDS dataset of Sokoban episodes: `tfds build` in this folder."""

from rlds_builders import _builder, sokoban


class Builder(_builder.EpisodeBuilder):
  """Episodes of an A* solver."""

  DOMAIN = sokoban.DOMAIN
  BUILDER_CONFIGS = _builder.configs(sokoban.DOMAIN)
