"""TFDS dataset of questions about images: `tfds build` in this folder, one config per task."""

from rlds_builders import vqa_v2
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.DocumentBuilder):
  """Images with a question about each, and its answers."""

  DOMAIN = vqa_v2.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(vqa_v2.DOMAIN)
