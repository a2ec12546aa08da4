"""RLDS dataset of robosuite: `tfds build` in this folder, one config per task."""

from rlds_builders import robosuite
from rlds_builders.base import recorded_builder, rlds_builder


class Builder(recorded_builder.CatalogueBuilder):
  """Recorded episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = robosuite.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(robosuite.DOMAIN)
