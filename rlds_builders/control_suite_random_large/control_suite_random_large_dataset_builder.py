"""RLDS dataset of this domain: `tfds build` in this folder, one config per task."""

from rlds_builders import _builder, control_suite_random_large


class Builder(_builder.EpisodeBuilder):
  """Episodes of the control suite's experts."""

  DOMAIN = control_suite_random_large.DOMAIN
  BUILDER_CONFIGS = _builder.configs(control_suite_random_large.DOMAIN)
