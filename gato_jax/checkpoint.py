"""Orbax behind one thin module. A checkpoint is self-describing: parameters, optimizer state, and a JSON `meta` that
holds the input position (the step), the configs and specs given by the caller, and the tokenizer.

Saving is asynchronous. A step's folder appears under its name only when it is complete, so a kill at any moment leaves
the earlier ones as they were.
"""

import base64
import logging
import pathlib
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from gato_jax.errors import GatoError

_log = logging.getLogger(__name__)
_ITEMS = ("params", "optimizer", "meta")
# What Orbax and TensorStore raise on files that are missing, cut off or changed.
_CORRUPT = (OSError, ValueError, KeyError, TypeError, RuntimeError)


class Checkpoints:
  """The checkpoints of one run, `directory`/<step>/."""

  def __init__(self, directory: pathlib.Path, keep: int = 3):
    self.directory = pathlib.Path(directory).absolute()
    options = ocp.CheckpointManagerOptions(max_to_keep=keep, cleanup_tmp_directories=True)
    self._orbax = ocp.CheckpointManager(self.directory, item_names=_ITEMS, options=options)

  def save(self, step: int, params: Any, optimizer: Any, meta: Mapping[str, Any], tokenizer: bytes) -> None:
    """Copies the arrays to the host and writes them in the background. An existing step is replaced."""
    if step in self._orbax.all_steps():
      self._orbax.delete(step)
    meta = {
      **meta,
      "step": int(step),
      "tokenizer": base64.b64encode(tokenizer).decode(),
      "checksum": _checksum(params),
    }
    self._orbax.save(
      step,
      args=ocp.args.Composite(
        params=ocp.args.StandardSave(params),
        optimizer=ocp.args.StandardSave(optimizer),
        meta=ocp.args.JsonSave(meta),
      ),
    )

  def restore_latest(self, params: Any, optimizer: Any) -> tuple[int, Any, Any, dict[str, Any]] | None:
    """The newest readable step as (step, params, optimizer, meta), or None where there is no checkpoint.

    Args:
      params, optimizer: jax.ShapeDtypeStructs with shardings.

    Raises:
      GatoError: there are checkpoints, but none can be read, or the newest is of another model.
    """
    steps = sorted(self._orbax.all_steps(), reverse=True)
    for step in steps:
      try:
        meta = self._read(step, meta=ocp.args.JsonRestore()).meta
        restored = self._read(
          step, params=ocp.args.StandardRestore(params), optimizer=ocp.args.StandardRestore(optimizer)
        )
        _check(restored.params, meta)
      except _CORRUPT as e:
        _log.warning("%s: cannot be read (%s); trying the one before", self.directory / str(step), _first_line(e))
        continue
      return step, restored.params, restored.optimizer, _decode(meta)
    if steps:
      raise GatoError(
        f"{self.directory}: none of the checkpoints {steps} can be read, or they are of another model; "
        "delete the folder to start anew"
      )
    return None

  def _read(self, step: int, **items: Any) -> Any:
    return self._orbax.restore(step, args=ocp.args.Composite(**items))

  def wait(self) -> None:
    """Returns when everything saved is on the disk; raises what went wrong in the background."""
    self._orbax.wait_until_finished()

  def close(self) -> None:
    self._orbax.close()


def load_for_acting(directory: pathlib.Path, step: int | None = None) -> tuple[Any, dict[str, Any], int]:
  """Parameters on the first device, meta (meta["tokenizer"] is bytes) and step; the newest readable step by default.

  Raises:
    GatoError: no checkpoint, or the step asked for does not exist or cannot be read.
  """
  directory = pathlib.Path(directory).absolute()
  steps = sorted((int(p.name) for p in directory.glob("*") if p.name.isdigit()), reverse=True)
  if not steps:
    raise GatoError(
      f"no checkpoint in {directory}; train one: python -m experiments.train --config=experiments/configs/NAME.py"
      f" --config.workdir={directory.parent}"
    )
  if step is not None and step not in steps:
    raise GatoError(f"no checkpoint of step {step} in {directory}, only of {sorted(steps)}; name one of them")
  device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  for candidate in steps if step is None else [step]:
    try:
      with ocp.StandardCheckpointer() as reader, ocp.Checkpointer(ocp.JsonCheckpointHandler()) as json_reader:
        meta = json_reader.restore(directory / str(candidate) / "meta")
        where = directory / str(candidate) / "params"
        stored = reader.metadata(where).item_metadata
        template = jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=device), dict(stored))
        params = reader.restore(where, template)
      _check(params, meta)
    except _CORRUPT as e:
      problem = f"{directory / str(candidate)}: cannot be read ({_first_line(e)})"
      if step is not None:
        raise GatoError(f"{problem}; leave the step out to take the newest that can") from e
      _log.warning("%s; trying the one before", problem)
      continue
    return params, _decode(meta), candidate
  raise GatoError(f"{directory}: none of the checkpoints {sorted(steps)} can be read; train again in a new workdir")


def _checksum(params: Any) -> int | None:
  """Of all parameters; None where this host does not hold them all."""
  leaves = jax.tree.leaves(params)
  if not all(leaf.is_fully_addressable for leaf in leaves):
    return None
  total = 0
  for leaf in leaves:
    total = zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8), total)
  return total


def _check(params: Any, meta: Mapping[str, Any]) -> None:
  found = _checksum(params)
  if found is not None and meta["checksum"] is not None and found != meta["checksum"]:
    raise ValueError("the parameters are not those that were saved")


def _decode(meta: Mapping[str, Any]) -> dict[str, Any]:
  return {**meta, "tokenizer": base64.b64decode(meta["tokenizer"])}


def _first_line(error: Exception) -> str:
  return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
