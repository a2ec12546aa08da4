"""RLDS dataset of the control suite: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, control_suite


class Builder(_builder.EpisodeBuilder):
  """Episodes of the control suite's experts."""

  DOMAIN = control_suite.DOMAIN
  BUILDER_CONFIGS = _builder.configs(control_suite.DOMAIN)
