"""TFDS dataset of pages of texts and pictures: `tfds build` in this folder."""

from rlds_builders import _builder, m3w


class Builder(_builder.DocumentBuilder):
  """Pages of stamps and emoji, or a user's files."""

  DOMAIN = m3w.DOMAIN
  BUILDER_CONFIGS = _builder.configs(m3w.DOMAIN)
