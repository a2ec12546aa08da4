"""TFDS dataset of plain text documents: `tfds build` in this folder."""

from rlds_builders import _builder, text


class Builder(_builder.DocumentBuilder):
  """Documents of what CPython, Debian, TFDS or the user has."""

  DOMAIN = text.DOMAIN
  BUILDER_CONFIGS = _builder.configs(text.DOMAIN)
