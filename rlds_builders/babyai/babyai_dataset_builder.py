"""RLDS dataset of BabyAI: `tfds build` in this folder, one config per level."""

from rlds_builders import _builder, babyai


class Builder(_builder.EpisodeBuilder):
  """Episodes of BabyAI's built-in bot."""

  DOMAIN = babyai.DOMAIN
  BUILDER_CONFIGS = _builder.configs(babyai.DOMAIN)
