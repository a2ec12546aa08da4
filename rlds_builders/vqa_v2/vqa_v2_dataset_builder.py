"""TFDS dataset of questions about pictures: `tfds build` in this folder."""

from rlds_builders import _builder, vqa_v2


class Builder(_builder.DocumentBuilder):
  """Pictures, a question about each and its answers."""

  DOMAIN = vqa_v2.DOMAIN
  BUILDER_CONFIGS = _builder.configs(vqa_v2.DOMAIN)
