"""RLDS dataset of the dummy domain: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, dummy


class Builder(_builder.EpisodeBuilder):
  """Episodes of the straight-line expert."""

  DOMAIN = dummy.DOMAIN
  BUILDER_CONFIGS = _builder.configs(dummy.DOMAIN)
