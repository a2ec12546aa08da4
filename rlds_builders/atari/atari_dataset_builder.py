"""RLDS dataset of 51 Atari games: `tfds build` in this folder, one config per game."""

from rlds_builders import atari
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of a planner on the emulator's memory."""

  DOMAIN = atari.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(atari.DOMAIN)
