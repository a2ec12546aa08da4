"""TFDS dataset of questions about pictures: `tfds build` in this folder."""

from rlds_builders import _builder, ok_vqa


class Builder(_builder.DocumentBuilder):
  """Pictures, a question about each and its answers."""

  DOMAIN = ok_vqa.DOMAIN
  BUILDER_CONFIGS = _builder.configs(ok_vqa.DOMAIN)
