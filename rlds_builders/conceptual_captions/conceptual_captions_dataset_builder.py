"""TFDS dataset of captioned images: `tfds build` in this folder, one config per task."""

from rlds_builders import conceptual_captions
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.DocumentBuilder):
  """Drawn rooms, or a user's images."""

  DOMAIN = conceptual_captions.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(conceptual_captions.DOMAIN)
