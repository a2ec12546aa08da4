"""RLDS dataset of the Jaco manipulation tasks: `tfds build` in this folder, one config per task."""

from rlds_builders import manipulation
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the scripted experts."""

  DOMAIN = manipulation.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(manipulation.DOMAIN)
