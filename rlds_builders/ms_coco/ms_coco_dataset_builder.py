"""TFDS dataset of captioned pictures: `tfds build` in this folder."""

from rlds_builders import _builder, ms_coco


class Builder(_builder.DocumentBuilder):
  """TFDS' coco_captions, or a user's files."""

  DOMAIN = ms_coco.DOMAIN
  BUILDER_CONFIGS = _builder.configs(ms_coco.DOMAIN)
