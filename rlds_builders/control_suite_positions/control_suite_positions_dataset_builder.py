"""RLDS dataset of control_suite_positions: `tfds build` in this folder, one config per task."""

from rlds_builders import control_suite_positions
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  """Episodes of the control suite's experts."""

  DOMAIN = control_suite_positions.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(control_suite_positions.DOMAIN)
