"""TFDS dataset of captioned pictures: `tfds build` in this folder."""

from rlds_builders import _builder, ltip


class Builder(_builder.DocumentBuilder):
  """Emoji, or a user's files."""

  DOMAIN = ltip.DOMAIN
  BUILDER_CONFIGS = _builder.configs(ltip.DOMAIN)
