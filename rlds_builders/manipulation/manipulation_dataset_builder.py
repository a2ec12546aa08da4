"""RLDS dataset of the Jaco manipulation tasks: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, manipulation


class Builder(_builder.EpisodeBuilder):
  """Episodes of the scripted experts."""

  DOMAIN = manipulation.DOMAIN
  BUILDER_CONFIGS = _builder.configs(manipulation.DOMAIN)
