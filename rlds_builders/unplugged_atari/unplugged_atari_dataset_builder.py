"""RL Unplugged's Atari episodes in the form that Gato reads: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, _catalogue, unplugged_atari


class Builder(_catalogue.CatalogueBuilder):
  """Episodes of the catalogue."""

  DOMAIN = unplugged_atari.DOMAIN
  BUILDER_CONFIGS = _builder.configs(unplugged_atari.DOMAIN)
