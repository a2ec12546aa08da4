"""RLDS dataset of Meta-World: `tfds build` in this folder, one config per task."""

from rlds_builders import meta_world
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of Meta-World's scripted policies."""

  DOMAIN = meta_world.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(meta_world.DOMAIN)
