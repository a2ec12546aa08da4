"""RLDS dataset of Procgen: `tfds build` in this folder, one config per game."""

from rlds_builders import _builder, procgen


class Builder(_builder.EpisodeBuilder):
  """Episodes of planners that search on saved states of the game."""

  DOMAIN = procgen.DOMAIN
  BUILDER_CONFIGS = _builder.configs(procgen.DOMAIN)
