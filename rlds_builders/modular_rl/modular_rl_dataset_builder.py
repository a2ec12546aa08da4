"""RLDS dataset of Modular RL: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, modular_rl


class Builder(_builder.EpisodeBuilder):
  """Episodes of the planning experts."""

  DOMAIN = modular_rl.DOMAIN
  BUILDER_CONFIGS = _builder.configs(modular_rl.DOMAIN)
