"""TFDS dataset of plain text documents: `tfds build` in this folder, one config per task."""

from rlds_builders import text
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.DocumentBuilder):
  """Documents of CPython, Debian, TFDS or a user."""

  DOMAIN = text.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(text.DOMAIN)
