"""TFDS dataset of captioned pictures: `tfds build` in this folder."""

from rlds_builders import _builder, conceptual_captions


class Builder(_builder.DocumentBuilder):
  """Pictures and their captions."""

  DOMAIN = conceptual_captions.DOMAIN
  BUILDER_CONFIGS = _builder.configs(conceptual_captions.DOMAIN)
