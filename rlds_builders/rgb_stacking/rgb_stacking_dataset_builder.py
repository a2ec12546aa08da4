"""RLDS dataset of RGB stacking: `tfds build` in this folder, one config per task."""

from rlds_builders import rgb_stacking
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the scripted experts."""

  DOMAIN = rgb_stacking.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(rgb_stacking.DOMAIN)
