"""Several processes that train as one: joining them, agreeing on what only one may decide, and stopping together.

With one process every function here is what it says without any communication.
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

from gato_jax import disk
from gato_jax.errors import GatoError

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
# A process that ends alone ends the others: killed, its heartbeats stop; with an error, the others miss its farewell.
_HEARTBEAT_SECONDS = 60
_FAREWELL_SECONDS = 30
_NO_CLUSTER = "coordinator_address should be defined."  # what JAX says where it detects none


@contextlib.contextmanager
def joined(
  coordinator: str | None = None, processes: int | None = None, process: int | None = None, patience: int = 300
) -> Iterator[None]:
  """Joins the run's processes before anything asks JAX for its devices, and leaves them together at the end.

  Without arguments JAX detects Slurm, Open MPI, Kubernetes, GKE and TPU VMs; anywhere else this is the only process.

  Args:
    coordinator: host:port of process 0, reachable from all. processes: how many. process: 0, 1, ... of this one.
    patience: seconds to wait for the others.

  Raises:
    GatoError: the arguments are incomplete or wrong, or the others are not there in time.
  """
  jax.config.update("jax_enable_preemption_service", False)  # it would take SIGTERM, which `stop_requests` listens to
  _join(coordinator, processes, process, patience)
  count = jax.process_count()
  try:
    yield
  except Exception as e:  # said now: where the others do not come to the farewell, JAX ends this process in it
    if count > 1:
      expected = e if isinstance(e, GatoError) else disk.failure(e)
      said = str(expected) if expected else traceback.format_exc()
      _log.error("process %d of %d ends: %s", jax.process_index(), count, said)
    raise
  finally:
    jax.distributed.shutdown()


def _join(coordinator: str | None, processes: int | None, process: int | None, patience: int) -> None:
  given = {"coordinator": coordinator, "processes": processes, "process": process}
  missing = [name for name, value in given.items() if value is None]
  if missing and len(missing) < len(given):
    raise GatoError(f"{', '.join(missing)} missing: give coordinator, processes and process together, or none of them")
  if not missing and not 0 <= process < processes:
    raise GatoError(f"process={process} of processes={processes}: processes are numbered from 0; correct the flags")
  if coordinator and not coordinator.rpartition(":")[2].isdigit():
    raise GatoError(f"coordinator={coordinator!r} is no host:port; give the address of process 0 and a free port")
  if not missing:  # JAX ends the process itself when they do not come; this is the line to understand it by
    _log.warning("process %d of %d: waits up to %d s for all at %s", process, processes, patience, coordinator)
  try:
    jax.distributed.initialize(
      coordinator,
      processes,
      process,
      initialization_timeout=patience,
      heartbeat_timeout_seconds=_HEARTBEAT_SECONDS,
      shutdown_timeout_seconds=_FAREWELL_SECONDS,
    )
  except ValueError as e:
    if str(e) != _NO_CLUSTER:
      raise GatoError(f"JAX cannot join the processes: {e} Give coordinator, processes and process") from e
  except jax.errors.JaxRuntimeError as e:
    raise GatoError(f"process {process} of {processes} cannot join at {coordinator}: {str(e).splitlines()[0]}") from e


def is_first() -> bool:
  """Whether this process writes what there is once: logs, plans, demonstrations."""
  return jax.process_index() == 0


def from_first(compute: Callable[[], _T]) -> _T:
  """compute() of the first process, its JSON-able result on all; the GatoError it raises is raised on all."""
  if jax.process_count() == 1:
    return compute()
  return _agreed(compute if is_first() else lambda: None)[0]


def together(compute: Callable[[], _T]) -> _T:
  """compute() of each process; where it raises GatoError on any, the first of these is raised on all."""
  if jax.process_count() == 1:
    return compute()
  own: list[_T] = []
  _agreed(lambda: own.append(compute()))
  return own[0]


def check_same(what: str, value: str) -> None:
  """Raises GatoError on all processes where `value` is not the same on all."""
  if jax.process_count() == 1:
    return
  values = _gather(value)
  others = [i for i, other in enumerate(values) if other != values[0]]
  if others:
    raise GatoError(f"process {others[0]} was started with another {what} than process 0; start all with the same")


def _agreed(compute: Callable[[], Any]) -> list[Any]:
  """JSON-able results of all processes, or the first process's GatoError; a full disk is one as well."""
  try:
    answer = {"value": compute()}
  except Exception as e:  # a disk that is full is known to one process only; a bug keeps its traceback
    said = e if isinstance(e, GatoError) else disk.failure(e)
    if said is None:
      raise
    answer = {"error": f"process {jax.process_index()}: {said}" if jax.process_index() else str(said)}
  answers = [json.loads(text) for text in _gather(json.dumps(answer))]
  errors = [answer["error"] for answer in answers if "error" in answer]
  if errors:
    raise GatoError(errors[0])
  return [answer["value"] for answer in answers]


def _gather(text: str) -> list[str]:
  """The texts of all processes, in their order."""
  encoded = np.frombuffer(text.encode(), np.uint8)
  sizes = multihost_utils.process_allgather(np.int32(encoded.size))
  padded = np.zeros(sizes.max(), np.uint8)
  padded[: encoded.size] = encoded
  rows = multihost_utils.process_allgather(padded)
  return [row[:size].tobytes().decode() for row, size in zip(rows, sizes, strict=True)]


@contextlib.contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
  """Inside, SIGTERM ends nothing; the function yielded says whether it came to any process.

  All processes call it once a step and get the same answer, at most two calls after the signal: a tiny collective of
  this call is read in the next one, when it is long done. Outside the main thread, where Python takes no signals,
  none is noticed.
  """
  came = threading.Event()
  main = threading.current_thread() is threading.main_thread()
  before = signal.signal(signal.SIGTERM, lambda *_: came.set()) if main else None
  try:
    yield came.is_set if jax.process_count() == 1 else _any_process(came)
  finally:
    if main:
      signal.signal(signal.SIGTERM, before)


def _any_process(came: threading.Event) -> Callable[[], bool]:
  mesh = Mesh(np.array(jax.devices()), ("all",))
  any_of = jax.jit(lambda flags: flags.any(), out_shardings=NamedSharding(mesh, PartitionSpec()))
  pending: list[jax.Array] = []

  def requested() -> bool:
    own = np.full(jax.local_device_count(), came.is_set())
    pending.append(any_of(jax.make_array_from_process_local_data(NamedSharding(mesh, PartitionSpec("all")), own)))
    return len(pending) > 1 and bool(pending.pop(0))

  return requested
