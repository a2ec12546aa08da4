"""RLDS dataset of d4rl_mujoco: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, _catalogue, d4rl_mujoco


class Builder(_catalogue.CatalogueBuilder):
  """Episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = d4rl_mujoco.DOMAIN
  BUILDER_CONFIGS = _builder.configs(d4rl_mujoco.DOMAIN)
