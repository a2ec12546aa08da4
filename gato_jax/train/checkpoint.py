"""Saves and restores checkpoints with Orbax.

A checkpoint describes itself: parameters, optimizer state, and a JSON `meta` with the input
position (the step), the configs and specs given by the caller, the tokenizer, and checksums of all
of it.

Saving is asynchronous. The directory of a step gets its name only when it is complete, so a kill at
any moment leaves the earlier checkpoints intact. The checksums do not depend on how the arrays are
laid out, so damage is found on any mesh.
"""

import base64
import hashlib
import json
import logging
import os
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from gato_jax.errors import GatoError
from gato_jax.storage import disk, paths
from gato_jax.train import checksums, multihost, orbax_errors

_log = logging.getLogger(__name__)
_ITEMS = ("params", "optimizer", "meta")
_RENAMED_DATA_SETTINGS = {"hold_out": "validation_every"}  # since version 0.1.0
# Raised by Orbax and TensorStore for files that are missing, truncated or changed.
_CORRUPT = (OSError, ValueError, KeyError, TypeError, RuntimeError)

orbax_errors.silence()


class Checkpoints:
  """The checkpoints of one run, `directory`/<step>/, on a file system that all processes see.

  Attributes:
    directory: The absolute path of the checkpoints.
  """

  def __init__(
    self,
    directory: pathlib.Path,
    keep: int = 3,
    keep_period: int | None = None,
    keep_steps: Sequence[int] = (),
  ):
    """Opens the checkpoints of a run and removes what a killed process left unfinished.

    Args:
      directory: Created where it does not exist.
      keep: Number of newest checkpoints that are kept.
      keep_period: Every `keep_period`-th step is kept for good. None or 0 for no such steps.
      keep_steps: These steps are kept for good too.
    """
    self.directory = paths.absolute(paths.path(directory))
    if os.fspath(self.directory).startswith("s3://"):
      raise GatoError(
        f"{self.directory}: Orbax writes checkpoints to gs:// and to directories; give a workdir "
        "there"
      )

    policies: list[Any] = [checkpoint_managers.LatestN(keep)]
    if keep_period:
      policies.append(checkpoint_managers.EveryNSteps(keep_period))
    if keep_steps:
      policies.append(checkpoint_managers.CustomSteps(keep_steps))
    options = ocp.CheckpointManagerOptions(
      preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
      cleanup_tmp_directories=True,
      async_options=ocp.options.AsyncOptions(post_finalization_callback=self._on_written),
    )
    self._manager = ocp.CheckpointManager(self.directory, item_names=_ITEMS, options=options)

    self._save_in_progress = (0, 0.0)  # step and start time
    self._save_seconds: dict[str, float] = {}

  def save(
    self, step: int, params: Any, optimizer: Any, meta: Mapping[str, Any], tokenizer: bytes
  ) -> None:
    """Copies the arrays to the host and writes them in the background.

    An existing checkpoint of the same step is replaced.

    Args:
      step: Number of steps done.
      params: Parameters of the model.
      optimizer: Optimizer state.
      meta: JSON-able; step, tokenizer and checksums are added.
      tokenizer: The serialised SentencePiece model.
    """
    start = time.perf_counter()
    if step in self._manager.all_steps():
      self._manager.delete(step)

    # Wait for the previous save, so that its time is not taken for this one's.
    self.wait()
    self._save_in_progress = (step, start)

    meta = {
      **meta,
      "step": int(step),
      "tokenizer": base64.b64encode(tokenizer).decode(),
      "sums": {"params": checksums.compute(params), "optimizer": checksums.compute(optimizer)},
      "sums_version": checksums.VERSION,
    }
    with disk.writing(self.directory):
      self._manager.save(
        step,
        args=ocp.args.Composite(
          params=ocp.args.StandardSave(params),
          optimizer=ocp.args.StandardSave(optimizer),
          meta=ocp.args.JsonSave({**meta, "sha256": digest(meta)}),
        ),
        # After falling back to an earlier step there may be later ones, which cannot be read.
        # Orbax would not save a step below those.
        force=True,
      )

    seconds = time.perf_counter() - start
    self._save_seconds["save_blocking_seconds"] = seconds
    _log.info("step %d: saving blocked training for %.2f s", step, seconds)

  def _on_written(self) -> None:
    """Called in Orbax's thread when the files of a save are complete."""
    step, start = self._save_in_progress
    seconds = time.perf_counter() - start

    self._save_seconds["save_background_seconds"] = seconds
    _log.info("step %d: written %.2f s after the save began", step, seconds)

  def take_seconds(self) -> dict[str, float]:
    """Returns how long the saves since the last call blocked and took, for the metrics.

    Empty where there were none.
    """
    seconds, self._save_seconds = self._save_seconds, {}
    return seconds

  def restore_latest(
    self, params: Any, optimizer: Any
  ) -> tuple[int, Any, Any, dict[str, Any]] | None:
    """Restores the newest step that all processes can read.

    Args:
      params: jax.ShapeDtypeStructs with shardings, whatever the layout was when the step was saved.
      optimizer: The same for the optimizer state.

    Returns:
      (step, params, optimizer, meta), or None where there is no checkpoint.

    Raises:
      GatoError: There are checkpoints, but none can be read, or they are of another model.
    """
    # The steps of the first process: file systems may show a new directory late to the others.
    steps = multihost.from_first(lambda: saved_steps(self.directory))

    for step in steps:
      try:
        return restore(self.directory, step, params, optimizer)
      except GatoError as e:
        _log.warning("%s; trying the one before", e)

    if steps:
      raise GatoError(
        f"{self.directory}: none of the checkpoints {steps} can be read, or they are of another "
        "model; delete the folder to start anew"
      )
    return None

  def steps(self) -> list[int]:
    """Returns the saved steps, readable or not."""
    return list(self._manager.all_steps())

  def wait(self) -> None:
    """Blocks until everything is on the disk; raises errors of the background thread."""
    # Orbax's own writes, unlike TensorStore's, name no file when the disk is full.
    with disk.writing(self.directory):
      self._manager.wait_until_finished()

  def check(self) -> None:
    """Raises errors of the background thread without waiting for a save in progress."""
    if not self._manager.is_saving_in_progress():
      self.wait()

  def close(self) -> None:
    """Waits for a save in progress and ends Orbax's threads."""
    with disk.writing(self.directory):
      self._manager.close()


def restore(
  directory: pathlib.Path, step: int, params: Any, optimizer: Any
) -> tuple[int, Any, Any, dict[str, Any]]:
  """Restores one step, on all processes.

  Args:
    directory: The checkpoints of a run.
    step: One of `saved_steps`.
    params: jax.ShapeDtypeStructs with shardings.
    optimizer: The same for the optimizer state.

  Returns:
    (step, params, optimizer, meta).

  Raises:
    GatoError: The step cannot be read, or is of another model.
  """
  path = paths.absolute(paths.path(directory)) / str(step)
  meta, arrays = _read_together(path, params=params, optimizer=optimizer)
  return step, arrays["params"], arrays["optimizer"], _decode(meta)


def newest_meta(directory: pathlib.Path) -> dict[str, Any] | None:
  """Returns the meta of the newest step whose meta is intact, without reading the arrays.

  None where there is no such step.
  """
  for step in saved_steps(directory):
    try:
      return read_meta(directory, step)
    except GatoError as e:
      _log.warning("%s; looking at the one before", e)

  return None


def read_meta(directory: pathlib.Path, step: int) -> dict[str, Any]:
  """Returns the meta of a step without reading the arrays.

  Raises:
    GatoError: It cannot be read.
  """
  meta, _ = _read(paths.absolute(paths.path(directory)) / str(step))
  return _decode(meta)


def load_for_acting(
  directory: pathlib.Path, step: int | None = None
) -> tuple[Any, dict[str, Any], int]:
  """Loads the parameters of a checkpoint onto the first device.

  Args:
    directory: The checkpoints of a run.
    step: The newest readable step by default.

  Returns:
    (parameters, meta, step), where meta["tokenizer"] is bytes.

  Raises:
    GatoError: There is no checkpoint, or the requested step does not exist or cannot be read.
  """
  directory = paths.absolute(paths.path(directory))
  steps = saved_steps(directory)
  if not steps:
    raise GatoError(
      f"no checkpoint in {directory}; train one: python -m experiments.train "
      f"--config=experiments/configs/NAME.py --config.workdir={directory.parent}"
    )
  if step is not None and step not in steps:
    raise GatoError(
      f"no checkpoint of step {step} in {directory}, only of {sorted(steps)}; name one of them"
    )

  for candidate in steps if step is None else [step]:
    try:
      meta, arrays = _read_together(directory / str(candidate), params=None)
    except GatoError as e:
      if step is not None:
        raise GatoError(f"{e}; leave the step out to take the newest that can") from e
      _log.warning("%s; trying the one before", e)
      continue
    return arrays["params"], _decode(meta), candidate

  raise GatoError(
    f"{directory}: none of the checkpoints {sorted(steps)} can be read; train again in a new "
    "workdir"
  )


def digest(value: Any) -> str:
  """Returns the SHA-256 of a value's JSON, with sorted keys."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def saved_steps(directory: pathlib.Path) -> list[int]:
  """Returns the steps of the complete checkpoints, newest first."""
  # Orbax writes into a directory with a longer name and renames it to the step at the end. Buckets
  # cannot rename: there it writes a file that says so when the step is complete.
  steps = [path for path in paths.path(directory).glob("*") if path.name.isdigit()]
  if paths.is_remote(directory):
    steps = [path for path in steps if ocp.utils.is_checkpoint_finalized(path)]

  return sorted((int(path.name) for path in steps), reverse=True)


def _read(directory: pathlib.Path, **templates: Any) -> tuple[dict[str, Any], dict[str, Any]]:
  """Reads one step in this process, without waiting for others: one of them may fail alone.

  Args:
    directory: Of the step.
    **templates: Item -> jax.ShapeDtypeStructs with shardings. None: as stored, on the first device.

  Returns:
    (meta, item -> arrays).

  Raises:
    GatoError: Files are missing, truncated or changed, or of another model.
  """
  # Orbax synchronises all processes by default; here every process is its own primary host.
  this_process_only = ocp.options.MultiprocessingOptions(
    primary_host=jax.process_index(),
    active_processes={jax.process_index()},
    barrier_sync_key_prefix="read",
  )

  try:
    json_handler = ocp.JsonCheckpointHandler()
    with ocp.Checkpointer(json_handler, multiprocessing_options=this_process_only) as reader:
      meta = reader.restore(directory / "meta")
    signed = {name: value for name, value in meta.items() if name != "sha256"}
    if digest(signed) != meta["sha256"]:
      raise ValueError("the meta is not what was saved")

    arrays = {}
    with ocp.StandardCheckpointer(multiprocessing_options=this_process_only) as reader:
      for item, template in templates.items():
        if template is None:
          template = _stored_template(reader, directory / item)
        arrays[item] = reader.restore(directory / item, template)

  except Exception as e:
    # Orbax raises a plain Exception, caused by the error of TensorStore, for damaged arrays.
    is_plain = type(e) is Exception
    if not (is_plain or isinstance(e, _CORRUPT)):
      raise
    reason = (e.__cause__ or e) if is_plain else e
    raise GatoError(f"{directory}: cannot be read ({_first_line(reason)})") from e

  return meta, arrays


def _stored_template(reader: ocp.StandardCheckpointer, path: pathlib.Path) -> Any:
  """Returns the shapes and dtypes of a stored item, to be restored onto the first device."""
  sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
  stored = reader.metadata(path).item_metadata

  return jax.tree.map(
    lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype, sharding=sharding), dict(stored)
  )


def _read_together(
  directory: pathlib.Path, **templates: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
  """Reads one step on all processes and compares the arrays with their checksums.

  Raises:
    GatoError: On all processes, where it fails on one of them.
  """
  meta, arrays = multihost.together(lambda: _read(directory, **templates))

  for item, tree in arrays.items():
    actual = checksums.compute(tree, meta.get("sums_version", 1))
    expected = meta["sums"][item]
    changed = [path for path, checksum in expected.items() if actual.get(path) != checksum]
    if changed:
      raise GatoError(f"{directory}: cannot be read ({item}{changed[0]} is not what was saved)")

  return meta, arrays


def _decode(meta: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a checkpoint's meta as it was saved, with the current names of its settings."""
  config = meta.get("config", {})
  data = {
    _RENAMED_DATA_SETTINGS.get(name, name): value for name, value in config.get("data", {}).items()
  }
  if data:
    meta = {**meta, "config": {**config, "data": data}}

  return {**meta, "tokenizer": base64.b64decode(meta["tokenizer"])}


def _first_line(error: BaseException) -> str:
  text = str(error).strip() or type(error).__name__
  return text.splitlines()[0][:200]
