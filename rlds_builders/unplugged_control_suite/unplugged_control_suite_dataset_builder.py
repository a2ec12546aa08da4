"""RLDS dataset of unplugged_control_suite: `tfds build` in this folder, one config per task."""

from rlds_builders import unplugged_control_suite
from rlds_builders.base import recorded_builder, rlds_builder


class Builder(recorded_builder.CatalogueBuilder):
  """Recorded episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = unplugged_control_suite.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(unplugged_control_suite.DOMAIN)
