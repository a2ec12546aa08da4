"""RLDS dataset of Modular RL: `tfds build` in this folder, one config per task."""

from rlds_builders import modular_rl
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the planning experts."""

  DOMAIN = modular_rl.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(modular_rl.DOMAIN)
