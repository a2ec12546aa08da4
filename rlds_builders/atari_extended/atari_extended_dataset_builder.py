"""RLDS dataset of 28 further Atari games: `tfds build` in this folder, one config per game."""

from rlds_builders import atari_extended
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of a planner on the emulator's memory."""

  DOMAIN = atari_extended.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(atari_extended.DOMAIN)
