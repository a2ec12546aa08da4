"""A process of its own for what may crash, hang or eat memory: a simulator behind a pipe. No JAX, no TensorFlow.

Both ends speak (kind, content), pickled; the other end is this program.
"""

import contextlib
import ctypes
import faulthandler
import os
import pathlib
import pickle
import resource
import signal
import subprocess
import sys
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import psutil

_PR_SET_PDEATHSIG = 1


def send(connection: Connection, kind: str, content: Any) -> None:
  """One message."""
  connection.send_bytes(pickle.dumps((kind, content), pickle.HIGHEST_PROTOCOL))


def receive(connection: Connection) -> tuple[str, Any]:
  """The next message; EOFError where the other end is gone."""
  return pickle.loads(connection.recv_bytes())


class Worker:
  """A process that runs `python -m module DESCRIPTOR`.

  Attributes:
    connection: our end of the pipe; the other is the descriptor.
  """

  def __init__(self, module: str, log: pathlib.Path):
    """log: gets what the process writes."""
    ours, theirs = Pipe()
    log.parent.mkdir(parents=True, exist_ok=True)
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
    one_thread = {"OMP_NUM_THREADS": "1"}  # simulators share the cores among each other, not their BLAS threads
    with theirs, log.open("ab") as file:
      self._process = subprocess.Popen(
        [sys.executable, "-m", module, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=file,
        env={**os.environ, **one_thread, "PYTHONPATH": paths},
      )
    self.connection = ours

  def send(self, kind: str, content: Any) -> None:
    """A process that is gone is noticed when its answer is awaited."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
      send(self.connection, kind, content)

  @property
  def is_gone(self) -> bool:
    return self._process.poll() is not None

  def resident_bytes(self) -> int:
    """Physical memory that the process holds now; 0 where it is gone."""
    try:
      return psutil.Process(self._process.pid).memory_info().rss
    except psutil.NoSuchProcess:
      return 0

  def end(self, patience: float = 0.0, hangs: bool = False) -> str:
    """Ends the process, after `patience` seconds by force, and says how it ended.

    Args:
      hangs: it first writes to the log where it is.
    """
    self.connection.close()
    if hangs:
      self._process.send_signal(signal.SIGABRT)  # faulthandler
    with contextlib.suppress(subprocess.TimeoutExpired):
      self._process.wait(patience)
    self._process.kill()
    status = self._process.wait()
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def connect(descriptor: int) -> Connection:
  """Called first in the worker's process: its end of the pipe, and that it dies with its parent and leaves a trace."""
  faulthandler.enable()  # a crash, or the SIGABRT that ends a hang, leaves a traceback in the log
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # a hanging simulator does not outlive a killed parent
  return Connection(descriptor)
