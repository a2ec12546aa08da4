"""Runs a local job's processes and writes how they ended: python -m launch.supervise FOLDER

launch/backends/local.py starts it, with the lock of the job's directory, which it holds as long as
it lives.
"""

import contextlib
import datetime
import fcntl
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import IO

from gato_jax.storage import files
from gato_jax.train.config import PREEMPTED
from launch import jobs
from launch.backends.local import Local
from launch.jobs import Job, JobState

_POLL_SECONDS = 0.5


class Supervisor:
  """Starts the processes of a job, again where they were preempted.

  SIGTERM is passed on to the processes; the second one kills them.
  """

  def __init__(self, folder: pathlib.Path):
    order = json.loads((folder / "order.json").read_text())
    job = order["job"]
    # JSON has lists and no tuples.
    job["overrides"] = tuple(job["overrides"])

    self.folder = folder
    self.backend = Local(**order["backend"])
    self.job = Job(**job)
    self.processes: list[subprocess.Popen] = []
    self.signals = 0

  def run(self) -> JobState:
    """Runs the job to its end and returns the state in which it ended."""
    # Local.submit has blocked the signal, so that none is lost before this handler is there.
    signal.signal(signal.SIGTERM, self._cancel)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])

    with self._slot():
      for restarts_left in reversed(range(self.backend.restarts + 1)):
        if self.signals:
          return JobState.CANCELLED

        self._write(JobState.RUNNING)
        statuses = self._run_processes()
        self._log(f"exit status {', '.join(map(str, statuses))}")

        # A job that was cancelled and yet came to its end is done.
        if not any(statuses):
          return JobState.DONE
        if self.signals:
          return JobState.CANCELLED

        # SIGTERM from elsewhere: a process has saved, or did not listen yet.
        if not set(statuses) <= {PREEMPTED, -signal.SIGTERM}:
          return JobState.FAILED
        self._log(f"preempted; {restarts_left} restarts are left")

      return JobState.FAILED

  def _run_processes(self) -> list[int]:
    """Starts the processes once and returns their exit statuses.

    Where one fails alone JAX ends the others (docs/training.md).
    """
    with contextlib.ExitStack() as stack:
      for i, command in enumerate(self.backend.commands(self.job, _free_address())):
        log = stack.enter_context(open(self.folder / f"{i}.log", "a"))
        # With setpriv the processes get SIGTERM, save and end when this process is killed.
        process = subprocess.Popen(
          ["setpriv", "--pdeathsig", "TERM", *command],
          cwd=jobs.ROOT,
          env=os.environ | self.backend.environment(),
          stdin=subprocess.DEVNULL,
          stdout=log,
          stderr=log,
        )
        self.processes.append(process)

      # A signal that came meanwhile has reached only the processes that were there.
      if self.signals:
        self._signal(signal.SIGTERM)

      statuses = [process.wait() for process in self.processes]

    self.processes.clear()
    return statuses

  @contextlib.contextmanager
  def _slot(self) -> Iterator[None]:
    """Waits for one of the slots, or for SIGTERM; without slots it does not wait."""
    with contextlib.ExitStack() as stack:
      slots = []
      for i in range(self.backend.slots):
        slots.append(stack.enter_context(open(jobs.FOLDER / f"slot.{i}", "w")))

      while slots and not self.signals and not any(_try_lock(slot) for slot in slots):
        time.sleep(_POLL_SECONDS)
      yield

  def _cancel(self, *_) -> None:
    self.signals += 1
    self._signal(signal.SIGTERM if self.signals == 1 else signal.SIGKILL)

  def _signal(self, number: signal.Signals) -> None:
    for process in self.processes:
      process.send_signal(number)

  def _write(self, state: JobState) -> None:
    files.write(self.folder / "state", state)

  def _log(self, text: str) -> None:
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)


def _try_lock(file: IO) -> bool:
  """Returns True when this process has got the lock of a file."""
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
  except BlockingIOError:
    return False


def _free_address() -> str:
  with socket.socket() as probe:
    probe.bind(("localhost", 0))
    return f"localhost:{probe.getsockname()[1]}"


def main() -> None:
  supervisor = Supervisor(pathlib.Path(sys.argv[1]))

  # The state that a bug leaves here, with its traceback in supervisor.log.
  state = JobState.FAILED
  try:
    state = supervisor.run()
  finally:
    supervisor._write(state)


if __name__ == "__main__":
  main()
