"""Synchronises several processes that train together.

They join, agree on what only one of them may decide, and stop together. With one process all
functions return without communication.
"""

import contextlib
import json
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gato_jax.errors import GatoError
from gato_jax.storage import disk

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# A process that ends alone ends the others. If it was killed, they miss its heartbeats; if it had
# an error, they miss it at the barrier of the shutdown.
_HEARTBEAT_SECONDS = 60
_FAREWELL_SECONDS = 30
_NO_CLUSTER = "coordinator_address should be defined."  # JAX's error where it detects no cluster


@contextlib.contextmanager
def joined(
  coordinator: str | None = None,
  processes: int | None = None,
  process: int | None = None,
  patience: int = 300,
) -> Iterator[None]:
  """Joins the run's processes before JAX is asked for its devices, and shuts down together.

  Without arguments JAX detects Slurm, Open MPI, Kubernetes, GKE and TPU VMs; anywhere else this is
  the only process.

  Args:
    coordinator: host:port of process 0, reachable from all.
    processes: Number of processes.
    process: Index of this process.
    patience: Seconds to wait for the others.

  Raises:
    GatoError: The arguments are incomplete or wrong, or the others do not come in time.
  """
  # JAX's own service would take SIGTERM, which `stop_requests` listens to.
  jax.config.update("jax_enable_preemption_service", False)
  _join(coordinator, processes, process=process, patience=patience)
  count = jax.process_count()

  try:
    yield
  except Exception as e:
    # Log the error now: where the others do not come to the shutdown, JAX ends this process in it.
    if count > 1:
      user_error = e if isinstance(e, GatoError) else disk.failure(e)
      message = str(user_error) if user_error else traceback.format_exc()
      _log.error("process %d of %d ends: %s", jax.process_index(), count, message)
    raise
  finally:
    jax.distributed.shutdown()


def _join(
  coordinator: str | None, processes: int | None, process: int | None, patience: int
) -> None:
  """Checks the arguments of `joined` and initialises jax.distributed."""
  arguments = {"coordinator": coordinator, "processes": processes, "process": process}
  missing = [name for name, value in arguments.items() if value is None]
  if missing and len(missing) < len(arguments):
    raise GatoError(
      f"{', '.join(missing)} missing: give coordinator, processes and process together, or none of "
      "them"
    )
  if process is not None and processes is not None and not 0 <= process < processes:
    raise GatoError(
      f"process={process} of processes={processes}: processes are numbered from 0; correct the "
      "flags"
    )
  if coordinator and not coordinator.rpartition(":")[2].isdigit():
    raise GatoError(
      f"coordinator={coordinator!r} is no host:port; give the address of process 0 and a free port"
    )

  # Where the others do not come JAX ends the process itself. This line helps to understand why.
  if not missing:
    _log.warning(
      "process %d of %d: waits up to %d s for all at %s", process, processes, patience, coordinator
    )

  try:
    jax.distributed.initialize(
      coordinator,
      processes,
      process_id=process,
      initialization_timeout=patience,
      heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
      shutdown_timeout_seconds=_FAREWELL_SECONDS,
    )
  except ValueError as e:
    if str(e) != _NO_CLUSTER:
      raise GatoError(
        f"JAX cannot join the processes: {e} Give coordinator, processes and process"
      ) from e
  except jax.errors.JaxRuntimeError as e:
    raise GatoError(
      f"process {process} of {processes} cannot join at {coordinator}: {str(e).splitlines()[0]}"
    ) from e


def is_first() -> bool:
  """Returns True in the process that writes logs, plans and demonstrations."""
  return jax.process_index() == 0


def from_first(compute: Callable[[], _T]) -> _T:
  """Computes a JSON-able result in the first process and returns it on all.

  Raises:
    GatoError: On all processes, where `compute` raises it in the first one.
  """
  if jax.process_count() == 1:
    return compute()

  results = _compute_everywhere(compute if is_first() else lambda: None)
  return results[0]


def together(compute: Callable[[], _T]) -> _T:
  """Computes a result in each process.

  Raises:
    GatoError: On all processes, where `compute` raises it in one of them; the first process's error
      where there are several.
  """
  if jax.process_count() == 1:
    return compute()

  # The result stays in this process, so it need not be JSON-able.
  result: list[_T] = []
  _compute_everywhere(lambda: result.append(compute()))
  return result[0]


def check_same(what: str, value: str) -> None:
  """Raises GatoError on all processes where `value` is not the same on all.

  Args:
    what: Name of the value, for the error.
    value: This process's.
  """
  if jax.process_count() == 1:
    return

  values = _gather(value)
  differing = [i for i, other_value in enumerate(values) if other_value != values[0]]
  if differing:
    raise GatoError(
      f"process {differing[0]} was started with another {what} than process 0; start all with the "
      "same"
    )


def _compute_everywhere(compute: Callable[[], Any]) -> list[Any]:
  """Returns the JSON-able results of all processes.

  Raises:
    GatoError: The first process's, on all of them. A full disk is one as well.
  """
  try:
    answer = {"value": compute()}
  except Exception as e:
    # A full disk is known to one process only, so the others are told. A bug keeps its traceback.
    user_error = e if isinstance(e, GatoError) else disk.failure(e)
    if user_error is None:
      raise
    prefix = f"process {jax.process_index()}: " if jax.process_index() else ""
    answer = {"error": f"{prefix}{user_error}"}

  answers = [json.loads(text) for text in _gather(json.dumps(answer))]
  errors = [answer["error"] for answer in answers if "error" in answer]
  if errors:
    raise GatoError(errors[0])

  return [answer["value"] for answer in answers]


def _gather(text: str) -> list[str]:
  """Returns the texts of all processes, by process index."""
  encoded = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(encoded.size))

  # All processes gather arrays of one shape: pad to the longest text.
  padded = np.zeros(sizes.max(), np.uint8)
  padded[: encoded.size] = encoded
  rows = multihost_utils.process_allgather(padded)

  return [row[:size].tobytes().decode() for row, size in zip(rows, sizes, strict=True)]


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
  """Catches SIGTERM, and yields a function that returns True after any process received it.

  All processes call that function once per step and get the same answer, at most two calls after
  the signal: the tiny collective of one call is read in the next one, when it has long finished.
  Outside the main thread, where Python handles no signals, none is noticed.
  """
  signalled = threading.Event()
  is_main = threading.current_thread() is threading.main_thread()
  previous_handler = None
  if is_main:
    previous_handler = signal.signal(signal.SIGTERM, lambda *_: signalled.set())

  try:
    yield signalled.is_set if jax.process_count() == 1 else _any_process(signalled)
  finally:
    if is_main:
      signal.signal(signal.SIGTERM, previous_handler)


def _any_process(signalled: threading.Event) -> Callable[[], bool]:
  """Returns a function that returns True after the event was set in any process."""
  mesh = Mesh(np.array(jax.devices()), ("all",))
  sharded = NamedSharding(mesh, PartitionSpec("all"))
  any_flag = jax.jit(lambda flags: flags.any(), out_shardings=NamedSharding(mesh, PartitionSpec()))
  pending: list[jax.Array] = []

  def requested() -> bool:
    own_flags = np.full(jax.local_device_count(), signalled.is_set())
    pending.append(any_flag(jax.make_array_from_process_local_data(sharded, own_flags)))

    # Read the result of the previous call: that of this one is not ready yet.
    return len(pending) > 1 and bool(pending.pop(0))

  return requested
