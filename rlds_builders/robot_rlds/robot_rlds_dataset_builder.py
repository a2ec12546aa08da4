"""RLDS dataset of robot_rlds: `tfds build` in this folder, one config per task."""

from rlds_builders import robot_rlds
from rlds_builders.base import recorded_builder, rlds_builder


class Builder(recorded_builder.CatalogueBuilder):
  """Recorded episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = robot_rlds.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(robot_rlds.DOMAIN)
