"""What a run was started with, so that it is not continued with anything else by accident."""

import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

from gato_jax import checkpoint, files, specs
from gato_jax.errors import GatoError

_log = logging.getLogger(__name__)
_WAY_OUT = "go back or choose another --config.workdir"
# Settings by the start of their name; the longest that fits counts, and what fits none may change freely: how long a
# run is and how it is spread over machines, saved, logged, played.
_FIXED, _ASKED, _SAID, _FREE = "fixed", "asked", "said", "free"
_RULES = {
  **dict.fromkeys(("domains", "held_out", "fine_tune", "data", "model", "train.batch_size", "train.seed"), _ASKED),
  **{
    f"model.{name}": _FIXED
    for name in ("layers", "heads", "width", "feed_forward", "key_size", "patch_channels", "max_local_positions")
  },
  **dict.fromkeys(("model.remat", "model.attention_block", "model.scan_layers"), _FREE),
  **dict.fromkeys(("optimizer", "train.steps", "train.minutes"), _SAID),
}


def description(
  config: Mapping[str, Any], task_specs: Mapping[str, specs.TaskSpec], episodes: Mapping[str, int]
) -> dict[str, Any]:
  """What every checkpoint of a run says about its start.

  Args:
    config: the whole resolved config, JSON-able. task_specs, episodes: of the datasets, and how many each has.
  """
  return {
    "config": config,
    "config_sha256": checkpoint.digest(config),
    "specs": {name: spec.to_json() for name, spec in task_specs.items()},
    "episodes": dict(episodes),
  }


def refuse_changes(workdir: pathlib.Path, ours: Mapping[str, Any], accept: bool = False) -> None:
  """Compares a `description` with that of the newest checkpoint; writes workdir/config.json for people to read.

  Args:
    accept: changes of the mixture and of the training are said and go on; those that the parameters do not fit never.

  Raises:
    GatoError: the first dataset or setting that differs from what the run was started with.
  """
  directory = pathlib.Path(workdir) / "checkpoints"
  before = checkpoint.newest_meta(directory)
  for rule, change in _changes(before, ours) if before else ():
    if rule == _FIXED:
      raise GatoError(f"{directory}: this run was started {change}, which its parameters do not fit; {_WAY_OUT}")
    if rule == _ASKED and not accept:
      raise GatoError(f"{directory}: this run was started {change}; {_WAY_OUT}, or accept it with --accept_changes")
    _log.warning("step %d was trained %s", before["step"], change)
  files.write_json(pathlib.Path(workdir) / "config.json", ours["config"])


def _changes(before: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
  """(rule, "with x=1, now it is 2") of everything that differs and is not free."""
  for name, spec in ours["specs"].items():
    theirs = before["specs"].get(name)
    difference = specs.difference(*map(specs.TaskSpec.from_json, (theirs, spec))) if theirs else "it was not there"
    if difference:
      yield _ASKED, f"with another dataset of {name}: {difference}"
  theirs, now = _flat(before["config"]), _flat(ours["config"])
  for name in sorted(theirs.keys() | now.keys()):
    rule = _rule(name)
    if name not in theirs and not name.startswith("domains."):  # a setting that is newer than the run had its default
      continue
    if rule != _FREE and theirs.get(name) != now.get(name):
      yield rule, f"with {name}={theirs.get(name)}, now it is {now.get(name)}"
  for name, number in ours["episodes"].items():
    if before["episodes"].get(name, number) != number:
      yield _ASKED, f"with {before['episodes'][name]} episodes of {name}, now there are {number}"


def _rule(name: str) -> str:
  parts = name.split(".")
  starts = [".".join(parts[:end]) for end in range(len(parts), 0, -1)]
  return next((_RULES[start] for start in starts if start in _RULES), _FREE)


def is_fixed(name: str) -> bool:
  """Whether a setting fixes what the parameters are."""
  return _rule(name) == _FIXED


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """{"a": {"b": 1}} as {"a.b": 1}."""
  flat = {}
  for name, value in config.items():
    flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
  return flat
