"""A process for code that may crash, hang or exhaust memory: a simulator behind a pipe.

Imports neither JAX nor TensorFlow. Both ends send pickled pairs (kind, content). They trust each
other: the other end is this same program.
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

_PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>


def send(connection: Connection, kind: str, content: Any) -> None:
  """Sends one message."""
  message = pickle.dumps((kind, content), pickle.HIGHEST_PROTOCOL)
  connection.send_bytes(message)


def receive(connection: Connection) -> tuple[str, Any]:
  """Returns the next message; raises EOFError if the other end is gone."""
  return pickle.loads(connection.recv_bytes())


class Worker:
  """A process that runs `python -m module DESCRIPTOR`.

  Attributes:
    connection: Our end of the pipe; the descriptor names the other one.
  """

  def __init__(self, module: str, log: pathlib.Path):
    """Starts the process.

    Args:
      module: Its name; calls `connect` with the descriptor that it gets as its only argument.
      log: What the process writes to stdout and stderr is appended to this file.
    """
    ours, theirs = Pipe()
    log.parent.mkdir(parents=True, exist_ok=True)

    # An empty entry of sys.path stands for the current directory.
    paths = os.pathsep.join(path or os.getcwd() for path in sys.path)

    # Simulators share the cores with each other: BLAS threads of each of them would only compete.
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}

    # `theirs` is closed in this process, or the end of the worker would never reach us as an
    # EOFError.
    with theirs, log.open("ab") as file:
      self._process = subprocess.Popen(
        [sys.executable, "-m", module, str(theirs.fileno())],
        pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=file,
        stderr=file,
        env=variables,
      )
    self.connection = ours

  def send(self, kind: str, content: Any) -> None:
    """Sends a message; does not raise if the process is gone, which the next receive() notices."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
      send(self.connection, kind, content)

  @property
  def is_gone(self) -> bool:
    """True when the process has ended."""
    return self._process.poll() is not None

  def resident_bytes(self) -> int:
    """Returns the physical memory that the process occupies; 0 if it is gone."""
    try:
      return psutil.Process(self._process.pid).memory_info().rss
    except psutil.NoSuchProcess:
      return 0

  def end(self, patience: float = 0.0, hangs: bool = False) -> str:
    """Ends the process and says how it ended.

    Args:
      patience: Seconds after which it is killed.
      hangs: True to have it write to the log first where it hangs.

    Returns:
      "exit status 1" or "signal SIGSEGV", for example.
    """
    # Without the pipe, a healthy worker leaves its loop and exits on its own.
    self.connection.close()

    if hangs:
      # faulthandler answers this signal with a traceback of every thread (see `connect`).
      self._process.send_signal(signal.SIGABRT)
    with contextlib.suppress(subprocess.TimeoutExpired):
      self._process.wait(patience)
    self._process.kill()

    # Popen reports the signal that ended a process as a negative status.
    status = self._process.wait()
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"


def connect(descriptor: int) -> Connection:
  """Returns the worker's end of the pipe; called first in the worker's process.

  From then on, the process dies with its parent and leaves a traceback in the log when it crashes.
  """
  # Also covers the SIGABRT with which a parent ends a worker that hangs.
  faulthandler.enable()
  resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

  # Ctrl-C reaches the whole process group; the parent decides when the workers end.
  signal.signal(signal.SIGINT, signal.SIG_IGN)

  # A hanging simulator would never notice the closed pipe, and outlive a parent that was killed.
  ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
  return Connection(descriptor)
