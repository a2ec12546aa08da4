"""TFDS dataset of captioned images: `tfds build` in this folder, one config per task."""

from rlds_builders import ltip
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.DocumentBuilder):
  """Emoji, or a user's images."""

  DOMAIN = ltip.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(ltip.DOMAIN)
