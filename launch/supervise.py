"""Runs a local job's processes and writes how they ended: python -m launch.supervise FOLDER

launch/backends/local.py starts it, with the folder's lock, which it holds as long as it lives.
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

from gato_jax import files
from gato_jax.train.config import PREEMPTED
from launch import jobs
from launch.backends.local import Local
from launch.jobs import Job, State


class Supervisor:
  """SIGTERM goes on to the processes; the second one kills them."""

  def __init__(self, folder: pathlib.Path):
    order = json.loads((folder / "order.json").read_text())
    asked = order["job"]
    self.folder, self.backend = folder, Local(**order["backend"])
    self.job = Job(**asked | {"overrides": tuple(asked["overrides"])})
    self.processes: list[subprocess.Popen] = []
    self.signals = 0

  def run(self) -> State:
    signal.signal(signal.SIGTERM, self._cancel)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])  # Local.submit held it back
    with self._slot():
      for left in reversed(range(self.backend.restarts + 1)):
        if self.signals:
          return State.CANCELLED
        self._write(State.RUNNING)
        statuses = self._life()
        self._say(f"exit status {', '.join(map(str, statuses))}")
        if not any(statuses):
          return State.DONE
        if self.signals:
          return State.CANCELLED
        if not set(statuses) <= {PREEMPTED, -signal.SIGTERM}:
          return State.FAILED
        self._say(f"preempted; {left} restarts are left")
      return State.FAILED

  def _life(self) -> list[int]:
    """Exit statuses of the processes, started once; where one fails alone JAX ends the others (docs/training.md)."""
    with contextlib.ExitStack() as stack:
      for i, command in enumerate(self.backend.commands(self.job, _free_address())):
        log = stack.enter_context(open(self.folder / f"{i}.log", "a"))
        self.processes.append(
          subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", *command],  # they save and end when this process is killed
            cwd=jobs.ROOT,
            env=os.environ | self.backend.environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
          )  # fmt: skip
        )
      if self.signals:  # it came while they were started
        self._signal(signal.SIGTERM)
      statuses = [process.wait() for process in self.processes]
    self.processes.clear()
    return statuses

  @contextlib.contextmanager
  def _slot(self):
    """Waits for one of the slots, or for SIGTERM."""
    with contextlib.ExitStack() as stack:
      files = [jobs.FOLDER / f"slot.{i}" for i in range(self.backend.slots)]
      slots = [stack.enter_context(open(path, "w")) for path in files]
      while slots and not self.signals and not any(_lock(slot) for slot in slots):
        time.sleep(0.5)
      yield

  def _cancel(self, *_) -> None:
    self.signals += 1
    self._signal(signal.SIGTERM if self.signals == 1 else signal.SIGKILL)

  def _signal(self, number: signal.Signals) -> None:
    for process in self.processes:
      process.send_signal(number)

  def _write(self, state: State) -> None:
    files.write(self.folder / "state", state)

  def _say(self, text: str) -> None:
    print(f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M:%S} {text}", flush=True)


def _lock(file) -> bool:
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
  except BlockingIOError:
    return False


def _free_address() -> str:
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return f"localhost:{free.getsockname()[1]}"


def main() -> None:
  supervisor = Supervisor(pathlib.Path(sys.argv[1]))
  state = State.FAILED  # what a bug here leaves, with its traceback in supervisor.log
  try:
    state = supervisor.run()
  finally:
    supervisor._write(state)


if __name__ == "__main__":
  main()
