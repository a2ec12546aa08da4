"""RLDS dataset of unplugged_dmlab: `tfds build` in this folder, one config per task."""

from rlds_builders import unplugged_dmlab
from rlds_builders.base import recorded_builder, rlds_builder


class Builder(recorded_builder.CatalogueBuilder):
  """Recorded episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = unplugged_dmlab.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(unplugged_dmlab.DOMAIN)
