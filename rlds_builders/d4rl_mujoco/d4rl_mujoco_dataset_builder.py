"""RLDS dataset of d4rl_mujoco: `tfds build` in this folder, one config per task."""

from rlds_builders import d4rl_mujoco
from rlds_builders.base import recorded_builder, rlds_builder


class Builder(recorded_builder.CatalogueBuilder):
  """Recorded episodes of TFDS' catalogue in the form that Gato reads."""

  DOMAIN = d4rl_mujoco.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(d4rl_mujoco.DOMAIN)
