"""RLDS dataset of unplugged_control_suite: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, _catalogue, unplugged_control_suite


class Builder(_catalogue.CatalogueBuilder):
  """Episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = unplugged_control_suite.DOMAIN
  BUILDER_CONFIGS = _builder.configs(unplugged_control_suite.DOMAIN)
