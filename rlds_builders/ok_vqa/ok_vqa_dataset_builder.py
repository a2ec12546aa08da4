"""TFDS dataset of questions about images: `tfds build` in this folder, one config per task."""

from rlds_builders import ok_vqa
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.DocumentBuilder):
  """Images with a question about each, and its answers."""

  DOMAIN = ok_vqa.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(ok_vqa.DOMAIN)
