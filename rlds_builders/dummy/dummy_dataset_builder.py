"""RLDS dataset of the dummy domain: `tfds build` in this folder, one config per task."""

from rlds_builders import dummy
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the straight-line expert."""

  DOMAIN = dummy.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(dummy.DOMAIN)
