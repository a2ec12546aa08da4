"""TFDS dataset of pages of texts and images: `tfds build` in this folder, one config per task."""

from rlds_builders import m3w
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.DocumentBuilder):
  """Pages of stamps and emoji, or a user's."""

  DOMAIN = m3w.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(m3w.DOMAIN)
