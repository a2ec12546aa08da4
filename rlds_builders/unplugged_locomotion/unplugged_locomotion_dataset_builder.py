"""RLDS dataset of unplugged_locomotion: `tfds build` in this folder, one config per task."""

from rlds_builders import unplugged_locomotion
from rlds_builders.base import recorded_builder, rlds_builder


class Builder(recorded_builder.CatalogueBuilder):
  """Recorded episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = unplugged_locomotion.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(unplugged_locomotion.DOMAIN)
