"""TFDS dataset of captioned pictures: `tfds build` in this folder."""

from rlds_builders import _builder, align


class Builder(_builder.DocumentBuilder):
  """Stamps, or a user's files."""

  DOMAIN = align.DOMAIN
  BUILDER_CONFIGS = _builder.configs(align.DOMAIN)
