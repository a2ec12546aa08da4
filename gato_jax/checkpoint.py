"""Orbax behind one thin module. A checkpoint is self-describing: parameters, optimizer state, and a JSON `meta` that
holds the input position (the step), the configs and specs given by the caller, the tokenizer, and sums of all of it.

Saving is asynchronous. A step's folder appears under its name only when it is complete, so a kill at any moment leaves
the earlier ones as they were. The sums do not depend on how the arrays are laid out, so damage is found on any mesh.
"""

import asyncio
import base64
import functools
import hashlib
import json
import logging
import math
import pathlib
import time
import weakref
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers

from gato_jax import distributed
from gato_jax.errors import GatoError

_log = logging.getLogger(__name__)
_ITEMS = ("params", "optimizer", "meta")
_SUMS_VERSION = 2
_SUM_KEYS = 0x243F6A88, 0x85A308D3
# What Orbax and TensorStore raise on files that are missing, cut off or changed.
_CORRUPT = (OSError, ValueError, KeyError, TypeError, RuntimeError)


class _FinishingLoop(asyncio.SelectorEventLoop):
  """An event loop that lets its tasks end before it closes.

  Orbax reads and writes many arrays at once, in a loop that it closes at the first error. The other operations then
  report to a loop that is closed: a traceback each, on standard error, about an error that Orbax raises anyway.
  """

  def __init__(self, *arguments: Any):
    super().__init__(*arguments)
    self._started: weakref.WeakSet[asyncio.Task] = weakref.WeakSet()
    self.set_task_factory(self._start)

  def _start(self, loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task:
    task = asyncio.Task(coroutine, loop=loop, **options)
    self._started.add(task)
    return task

  def close(self) -> None:
    left = [task for task in self._started if not task.done()]
    if left and not self.is_closed() and not self.is_running():
      self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    super().close()


class _FinishingLoops(asyncio.DefaultEventLoopPolicy):
  """Makes them in every thread: Orbax has several."""

  _loop_factory = _FinishingLoop


def _is_ours(record: logging.LogRecord) -> bool:
  """Whether a log record is not of Orbax.

  Its threads log the traceback of an error that is raised where it is waited for, and it warns of files that
  checkpoints like ours never have.
  """
  return "/orbax/" not in record.pathname


asyncio.set_event_loop_policy(_FinishingLoops())
logging.getLogger("absl").addFilter(_is_ours)


class Checkpoints:
  """The checkpoints of one run, `directory`/<step>/, on a file system that all processes see.

  Args:
    keep: newest ones kept. keep_period: those of every so many steps are kept for ever; None: none.
  """

  def __init__(self, directory: pathlib.Path, keep: int = 3, keep_period: int | None = None):
    self.directory = pathlib.Path(directory).absolute()
    policies = [checkpoint_managers.LatestN(keep)]
    if keep_period:
      policies.append(checkpoint_managers.EveryNSteps(keep_period))
    options = ocp.CheckpointManagerOptions(
      preservation_policy=checkpoint_managers.AnyPreservationPolicy(policies),
      cleanup_tmp_directories=True,
      async_options=ocp.options.AsyncOptions(post_finalization_callback=self._written),
    )
    self._orbax = ocp.CheckpointManager(self.directory, item_names=_ITEMS, options=options)
    self._saving = (0, 0.0)  # step and when its save began
    self._seconds: dict[str, float] = {}

  def save(self, step: int, params: Any, optimizer: Any, meta: Mapping[str, Any], tokenizer: bytes) -> None:
    """Copies the arrays to the host and writes them in the background. An existing step is replaced."""
    began = time.perf_counter()
    if step in self._orbax.all_steps():
      self._orbax.delete(step)
    self._orbax.wait_until_finished()  # the last save, so that its time is not taken for this one's
    self._saving = (step, began)
    meta = {
      **meta,
      "step": int(step),
      "tokenizer": base64.b64encode(tokenizer).decode(),
      "sums": {"params": _sums(params), "optimizer": _sums(optimizer)},
      "sums_version": _SUMS_VERSION,
    }
    self._orbax.save(
      step,
      args=ocp.args.Composite(
        params=ocp.args.StandardSave(params),
        optimizer=ocp.args.StandardSave(optimizer),
        meta=ocp.args.JsonSave({**meta, "sha256": digest(meta)}),
      ),
      force=True,  # after falling back there may be later steps, which cannot be read
    )
    self._seconds["save_blocking_seconds"] = time.perf_counter() - began
    _log.info("step %d: saving blocked training for %.2f s", step, self._seconds["save_blocking_seconds"])

  def _written(self) -> None:
    """In Orbax's thread, when the files of a save are complete."""
    step, began = self._saving
    self._seconds["save_background_seconds"] = time.perf_counter() - began
    _log.info("step %d: written %.2f s after the save began", step, self._seconds["save_background_seconds"])

  def take_seconds(self) -> dict[str, float]:
    """How long the saves since the last call blocked and took, for the metrics; nothing where there were none."""
    seconds, self._seconds = self._seconds, {}
    return seconds

  def restore_latest(self, params: Any, optimizer: Any) -> tuple[int, Any, Any, dict[str, Any]] | None:
    """The newest step that all processes can read as (step, params, optimizer, meta), None without any checkpoint.

    Args:
      params, optimizer: jax.ShapeDtypeStructs with shardings, whatever the layout was when the step was saved.

    Raises:
      GatoError: there are checkpoints, but none can be read, or they are of another model.
    """
    steps = distributed.from_first(lambda: saved_steps(self.directory))
    for step in steps:
      folder = self.directory / str(step)
      try:
        meta, arrays = _read_together(folder, params=params, optimizer=optimizer)
      except GatoError as e:
        _log.warning("%s; trying the one before", e)
        continue
      return step, arrays["params"], arrays["optimizer"], _decode(meta)
    if steps:
      raise GatoError(
        f"{self.directory}: none of the checkpoints {steps} can be read, or they are of another model; "
        "delete the folder to start anew"
      )
    return None

  def steps(self) -> list[int]:
    """Those saved, readable or not."""
    return list(self._orbax.all_steps())

  def wait(self) -> None:
    """Returns when everything saved is on the disk; raises what went wrong in the background."""
    self._orbax.wait_until_finished()

  def check(self) -> None:
    """Raises what went wrong in the background, without waiting for a save that is under way."""
    if not self._orbax.is_saving_in_progress():
      self.wait()

  def close(self) -> None:
    self._orbax.close()


def newest_meta(directory: pathlib.Path) -> dict[str, Any] | None:
  """The meta of the newest step whose meta is intact; None without any. The arrays are not looked at."""
  for step in saved_steps(directory):
    try:
      return _decode(_read(pathlib.Path(directory).absolute() / str(step))[0])
    except GatoError as e:
      _log.warning("%s; looking at the one before", e)
  return None


def load_for_acting(directory: pathlib.Path, step: int | None = None) -> tuple[Any, dict[str, Any], int]:
  """Parameters on the first device, meta (meta["tokenizer"] is bytes) and step; the newest readable step by default.

  Raises:
    GatoError: no checkpoint, or the step asked for does not exist or cannot be read.
  """
  directory = pathlib.Path(directory).absolute()
  steps = saved_steps(directory)
  if not steps:
    raise GatoError(
      f"no checkpoint in {directory}; train one: python -m experiments.train --config=experiments/configs/NAME.py"
      f" --config.workdir={directory.parent}"
    )
  if step is not None and step not in steps:
    raise GatoError(f"no checkpoint of step {step} in {directory}, only of {sorted(steps)}; name one of them")
  for candidate in steps if step is None else [step]:
    try:
      meta, arrays = _read_together(directory / str(candidate), params=None)
    except GatoError as e:
      if step is not None:
        raise GatoError(f"{e}; leave the step out to take the newest that can") from e
      _log.warning("%s; trying the one before", e)
      continue
    return arrays["params"], _decode(meta), candidate
  raise GatoError(f"{directory}: none of the checkpoints {sorted(steps)} can be read; train again in a new workdir")


def digest(value: Any) -> str:
  """sha256 of JSON."""
  return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def saved_steps(directory: pathlib.Path) -> list[int]:
  """Of the complete checkpoints, newest first."""
  return sorted((int(p.name) for p in pathlib.Path(directory).glob("*") if p.name.isdigit()), reverse=True)


def _read(folder: pathlib.Path, **templates: Any) -> tuple[dict[str, Any], dict[str, Any]]:
  """(meta, item -> arrays) of one step, read by this process without waiting for others: one may fail alone.

  Args:
    templates: item -> jax.ShapeDtypeStructs with shardings; None: as stored, on the first device.

  Raises:
    GatoError: files are missing, cut off or changed, or of another model.
  """
  own = ocp.options.MultiprocessingOptions(
    primary_host=jax.process_index(), active_processes={jax.process_index()}, barrier_sync_key_prefix="read"
  )
  try:
    with ocp.Checkpointer(ocp.JsonCheckpointHandler(), multiprocessing_options=own) as reader:
      meta = reader.restore(folder / "meta")
    if digest({name: value for name, value in meta.items() if name != "sha256"}) != meta["sha256"]:
      raise ValueError("the meta is not what was saved")
    arrays = {}
    with ocp.StandardCheckpointer(multiprocessing_options=own) as reader:
      for item, template in templates.items():
        if template is None:
          device = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
          stored = reader.metadata(folder / item).item_metadata
          template = jax.tree.map(lambda m, d=device: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=d), dict(stored))
        arrays[item] = reader.restore(folder / item, template)
  except Exception as e:
    # Orbax raises a plain Exception from what TensorStore says of an array.
    of_array = type(e) is Exception
    if not (of_array or isinstance(e, _CORRUPT)):
      raise
    raise GatoError(f"{folder}: cannot be read ({_first_line(e.__cause__ or e if of_array else e)})") from e
  return meta, arrays


def _read_together(folder: pathlib.Path, **templates: Any) -> tuple[dict[str, Any], dict[str, Any]]:
  """The same on all processes, and its arrays are those that were saved; GatoError on all where it fails on one."""
  meta, arrays = distributed.together(lambda: _read(folder, **templates))
  for item, tree in arrays.items():
    found = _sums(tree, meta.get("sums_version", 1))
    changed = [path for path, value in meta["sums"][item].items() if found.get(path) != value]
    if changed:
      raise GatoError(f"{folder}: cannot be read ({item}{changed[0]} is not what was saved)")
  return meta, arrays


def _sums(tree: Any, version: int = _SUMS_VERSION) -> dict[str, int]:
  """Returns a sum of every array's bits, by its path; a collective where the arrays span processes.

  Args:
    version: 2, or 1 for the sums of checkpoints that have no "sums_version".
  """
  leaves = jax.tree_util.tree_leaves_with_path(tree)
  sums = jax.device_get(_sum_arrays([leaf for _, leaf in leaves], version))
  return {
    jax.tree_util.keystr(path): sum(int(value) << (32 * i) for i, value in enumerate(values))
    for (path, _), values in zip(leaves, sums, strict=True)
  }


@functools.partial(jax.jit, static_argnums=1)
def _sum_arrays(arrays: list[jax.Array], version: int) -> list[list[jax.Array]]:
  """Returns sums modulo 2**32 for each array: integers, so the same in any order and any layout.

  Version 2 has two for each array. Each adds up a hash of every word with its place: changes cancel in both by chance
  only, once in 2**64. Version 1, words x (2 x place + 1), passes two flipped signs, whose changes are 2**31 each.
  """

  def one(array: jax.Array) -> list[jax.Array]:
    words = _words(array)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis in range(words.ndim):
      stride = jnp.uint32(math.prod(words.shape[axis + 1 :]) % 2**32)
      place += jax.lax.broadcasted_iota(jnp.uint32, words.shape, axis) * stride
    if version == 1:
      terms = [words * (2 * place + 1)]
    else:
      terms = [_mix(words ^ _mix(place + jnp.uint32(key))) for key in _SUM_KEYS]
    return [jnp.sum(term, dtype=jnp.uint32) for term in terms]

  return [one(array) for array in arrays]


def _words(array: jax.Array) -> jax.Array:
  """Returns the bits as uint32, of the array's shape; of 8-byte numbers as two words along one more axis."""
  if array.dtype == bool:
    return array.astype(jnp.uint32)
  unsigned = {1: jnp.uint8, 2: jnp.uint16}.get(array.dtype.itemsize, jnp.uint32)
  return jax.lax.bitcast_convert_type(array, unsigned).astype(jnp.uint32)


def _mix(x: jax.Array) -> jax.Array:
  """Returns a hash of uint32, a bijection (lowbias32 of Chris Wellons): any change of a word shows."""
  x = (x ^ (x >> 16)) * jnp.uint32(0x7FEB352D)
  x = (x ^ (x >> 15)) * jnp.uint32(0x846CA68B)
  return x ^ (x >> 16)


def _decode(meta: Mapping[str, Any]) -> dict[str, Any]:
  return {**meta, "tokenizer": base64.b64decode(meta["tokenizer"])}


def _first_line(error: BaseException) -> str:
  return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
