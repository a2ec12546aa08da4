"""RLDS dataset of 51 Atari games: `tfds build` in this folder, one config per game."""

from rlds_builders import _builder, atari


class Builder(_builder.EpisodeBuilder):
  """Episodes of a planner on the emulator's memory."""

  DOMAIN = atari.DOMAIN
  BUILDER_CONFIGS = _builder.configs(atari.DOMAIN)
