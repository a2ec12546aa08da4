"""TFDS dataset of captioned images: `tfds build` in this folder, one config per task."""

from rlds_builders import ms_coco
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.DocumentBuilder):
  """Photos of TFDS' coco_captions, or a user's."""

  DOMAIN = ms_coco.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(ms_coco.DOMAIN)
