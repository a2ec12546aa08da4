"""TFDS dataset of captioned images: `tfds build` in this folder, one config per task."""

from rlds_builders import align
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.DocumentBuilder):
  """Stamps, or a user's images."""

  DOMAIN = align.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(align.DOMAIN)
