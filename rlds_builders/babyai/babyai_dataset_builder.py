"""RLDS dataset of BabyAI: `tfds build` in this folder, one config per level."""

from rlds_builders import babyai
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of BabyAI's built-in bot."""

  DOMAIN = babyai.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(babyai.DOMAIN)
