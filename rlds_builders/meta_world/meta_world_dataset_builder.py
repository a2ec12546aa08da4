"""RLDS dataset of Meta-World: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, meta_world


class Builder(_builder.EpisodeBuilder):
  """Episodes of Meta-World's scripted policies."""

  DOMAIN = meta_world.DOMAIN
  BUILDER_CONFIGS = _builder.configs(meta_world.DOMAIN)
