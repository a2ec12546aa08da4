"""Compares a run with its newest checkpoint, so that no setting changes by accident."""

import dataclasses
import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from flax import traverse_util

from gato_jax.errors import GatoError
from gato_jax.model import GatoConfig
from gato_jax.storage import files, paths
from gato_jax.task import TaskSpec, spec_difference
from gato_jax.train import checkpoint

_log = logging.getLogger(__name__)
_WAY_OUT = "go back or choose another --config.workdir"

# Rules for a setting that differs from the checkpoint's. The parameters would not fit; it must be
# accepted; it is logged; it may change freely.
_FIXED, _ACCEPT, _WARN, _FREE = "fixed", "accept", "warn", "free"
# The last one changes no shape, but what the parameters mean.
_SHAPE_SETTINGS = (
  "layers",
  "heads",
  "width",
  "feed_forward",
  "key_size",
  "patch_channels",
  "max_local_positions",
  "text_pieces",
  "parametrization",
)
_MIXTURE_SETTINGS = (
  "domains",
  "held_out",
  "fine_tune",
  "data",
  "model",
  "train.batch_size",
  "train.seed",
)
_MODEL_DEFAULTS = {
  f"model.{field.name}": field.default
  for field in dataclasses.fields(GatoConfig)
  if field.default is not dataclasses.MISSING
}
# Start of a setting's name -> rule; the longest start counts. Settings without a rule are free: the
# length of a run, its devices, saving, logging, evaluation.
_RULES = {
  **dict.fromkeys(_MIXTURE_SETTINGS, _ACCEPT),
  **{f"model.{name}": _FIXED for name in _SHAPE_SETTINGS},
  **dict.fromkeys(
    ("model.remat", "model.attention", "model.attention_block", "model.scan_layers"), _FREE
  ),
  **dict.fromkeys(("optimizer", "train.steps", "train.minutes"), _WARN),
}


def description(
  config: Mapping[str, Any], task_specs: Mapping[str, TaskSpec], episodes: Mapping[str, int]
) -> dict[str, Any]:
  """Describes the start of a run, for the meta of its checkpoints.

  Args:
    config: The whole resolved config, JSON-able.
    task_specs: Name of each dataset -> its spec.
    episodes: Name of each dataset -> its number of episodes.
  """
  return {
    "config": config,
    "config_sha256": checkpoint.digest(config),
    "specs": {name: spec.to_json() for name, spec in task_specs.items()},
    "episodes": dict(episodes),
  }


def refuse_changes(workdir: pathlib.Path, ours: Mapping[str, Any], accept: bool = False) -> None:
  """Compares the description of a run with that of its newest checkpoint.

  Writes workdir/config.json for people to read.

  Args:
    workdir: Directory of the run.
    ours: From `description`.
    accept: Only warns of changes of the mixture and of the training. Changes that the parameters do
      not fit are never accepted.

  Raises:
    GatoError: Names the first dataset or setting that differs.
  """
  check_changes(workdir, ours, accept)
  files.write_json(paths.path(workdir) / "config.json", ours["config"])


def check_changes(workdir: pathlib.Path, ours: Mapping[str, Any], accept: bool = False) -> None:
  """Compares as `refuse_changes` does, with the same errors, and writes nothing."""
  directory = paths.path(workdir) / "checkpoints"
  before = checkpoint.newest_meta(directory)

  if before is not None:
    for rule, change in _changes(before, ours):
      if rule == _FIXED:
        raise GatoError(
          f"{directory}: this run was started {change}, which its parameters do not fit; {_WAY_OUT}"
        )
      if rule == _ACCEPT and not accept:
        raise GatoError(
          f"{directory}: this run was started {change}; {_WAY_OUT}, or accept it with "
          "--accept_changes"
        )
      _log.warning("step %d was trained %s", before["step"], change)


def _changes(before: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
  """Yields (rule, "with x=1, now it is 2") for every difference that is not free."""
  for name, spec in ours["specs"].items():
    spec_before = before["specs"].get(name)
    if spec_before:
      difference = spec_difference(TaskSpec.from_json(spec_before), TaskSpec.from_json(spec))
    else:
      difference = "it was not there"
    if difference:
      yield _ACCEPT, f"with another dataset of {name}: {difference}"

  settings_before = _MODEL_DEFAULTS | traverse_util.flatten_dict(before["config"], sep=".")
  settings = _MODEL_DEFAULTS | traverse_util.flatten_dict(ours["config"], sep=".")
  for name in sorted(settings_before.keys() | settings.keys()):
    # A setting that is newer than the run had its default then, which only those of the model tell.
    # A domain that is missing was not trained on.
    if name not in settings_before and not name.startswith("domains."):
      continue
    rule = _rule(name)
    value_before, value = settings_before.get(name), settings.get(name)
    if rule != _FREE and value_before != value:
      yield rule, f"with {name}={value_before}, now it is {value}"

  for name, number in ours["episodes"].items():
    number_before = before["episodes"].get(name, number)
    if number_before != number:
      yield _ACCEPT, f"with {number_before} episodes of {name}, now there are {number}"


def _rule(name: str) -> str:
  """Returns the rule of the longest start of a setting's name."""
  parts = name.split(".")
  for end in range(len(parts), 0, -1):
    start = ".".join(parts[:end])
    if start in _RULES:
      return _RULES[start]

  return _FREE


def is_fixed(name: str) -> bool:
  """Returns True for settings that determine the shapes of the parameters."""
  return _rule(name) == _FIXED
