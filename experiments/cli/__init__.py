"""Shared by all verbs: --config and its Experiment, errors in one line, and how a verb ends."""

from experiments.cli.experiment import Experiment, MixtureRow, name_of
from experiments.cli.runner import (
  ACCEPT,
  config_path,
  run,
  run_without_config,
)
from experiments.cli.settings import section_of

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
