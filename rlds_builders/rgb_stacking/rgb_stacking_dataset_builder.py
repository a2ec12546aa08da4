"""RLDS dataset of RGB stacking: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, rgb_stacking


class Builder(_builder.EpisodeBuilder):
  """Episodes of the scripted experts."""

  DOMAIN = rgb_stacking.DOMAIN
  BUILDER_CONFIGS = _builder.configs(rgb_stacking.DOMAIN)
