"""TFDS dataset of captioned pictures: `tfds build` in this folder."""

from rlds_builders import _builder, coco_captions


class Builder(_builder.DocumentBuilder):
  """TFDS' coco_captions, or a user's files."""

  DOMAIN = coco_captions.DOMAIN
  BUILDER_CONFIGS = _builder.configs(coco_captions.DOMAIN)
