"""RLDS dataset of unplugged_locomotion: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, _catalogue, unplugged_locomotion


class Builder(_catalogue.CatalogueBuilder):
  """Episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = unplugged_locomotion.DOMAIN
  BUILDER_CONFIGS = _builder.configs(unplugged_locomotion.DOMAIN)
