"""RLDS dataset of robot_rlds: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, _catalogue, robot_rlds


class Builder(_catalogue.CatalogueBuilder):
  """Episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = robot_rlds.DOMAIN
  BUILDER_CONFIGS = _builder.configs(robot_rlds.DOMAIN)
