"""RL Unplugged's DM Lab episodes in the form that Gato reads: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, _catalogue, unplugged_dmlab


class Builder(_catalogue.CatalogueBuilder):
  """Episodes of the catalogue."""

  DOMAIN = unplugged_dmlab.DOMAIN
  BUILDER_CONFIGS = _builder.configs(unplugged_dmlab.DOMAIN)
