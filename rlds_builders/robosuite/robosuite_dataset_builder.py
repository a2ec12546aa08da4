"""RLDS dataset of robosuite: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, _catalogue, robosuite


class Builder(_catalogue.CatalogueBuilder):
  """Episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = robosuite.DOMAIN
  BUILDER_CONFIGS = _builder.configs(robosuite.DOMAIN)
