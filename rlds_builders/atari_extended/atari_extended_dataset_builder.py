"""RLDS dataset of 28 further Atari games: `tfds build` in this folder, one config per game."""

from rlds_builders import _builder, atari_extended


class Builder(_builder.EpisodeBuilder):
  """Episodes of a planner on the emulator's memory."""

  DOMAIN = atari_extended.DOMAIN
  BUILDER_CONFIGS = _builder.configs(atari_extended.DOMAIN)
