"""TFDS dataset of plain text documents: `tfds build` in this folder."""

from rlds_builders import _builder, text


class Builder(_builder.DocumentBuilder):
  """Documents of the Python standard library."""

  DOMAIN = text.DOMAIN
  BUILDER_CONFIGS = _builder.configs(text.DOMAIN)
