"""Shared by all verbs: --config and its Experiment, errors in one line, and how a verb ends."""

from experiments.cli import quiet

# Before the imports below, one of which might import TensorFlow some day.
quiet.install()

from experiments.cli.experiment import Experiment, MixtureRow, name_of  # noqa: E402
from experiments.cli.runner import (  # noqa: E402
  ACCEPT,
  config_path,
  run,
  run_without_config,
)
from experiments.cli.settings import section_of  # noqa: E402

__all__ = [
  "ACCEPT",
  "Experiment",
  "MixtureRow",
  "config_path",
  "name_of",
  "run",
  "run_without_config",
  "section_of",
]
