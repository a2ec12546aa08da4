"""This machine: a job in the background, as one process or several."""

import dataclasses
import fcntl
import os
import pathlib
import shlex
import signal
import subprocess
import sys
import time
from typing import IO, ClassVar

from gato_jax.errors import GatoError
from gato_jax.storage import files
from launch import jobs
from launch.jobs import Job, JobState, setting

# A supervisor writes the last state of its job and then ends; on a busy machine that takes a while.
_EXIT_SECONDS = 10.0


@dataclasses.dataclass(frozen=True)
class Local:
  """Processes of this machine, started by launch/supervise.py, which outlives the shell.

  A handle is the job's directory, with its state and logs.
  """

  name: ClassVar[str] = "local"
  processes: int = setting(1, "Processes that train together.")
  devices: int = setting(
    0, "CPU devices that each process simulates; 0: the devices that the machine has."
  )
  restarts: int = setting(0, "Times to start again after exit status 42 (SIGTERM: saved).")
  slots: int = setting(0, "Jobs that run at one time, this one waits for its turn; 0: any number.")

  def commands(self, job: Job, address: str) -> list[list[str]]:
    """Returns one command a process; `address` is host:port of the first one."""
    command = [sys.executable, *job.arguments()]
    if self.processes == 1:
      return [command]

    joint = [f"--coordinator={address}", f"--processes={self.processes}"]
    return [[*command, *joint, f"--process={i}"] for i in range(self.processes)]

  def environment(self) -> dict[str, str]:
    """Returns the environment variables of every process."""
    if not self.devices:
      return {}

    return {
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": f"--xla_force_host_platform_device_count={self.devices}",
    }

  def render(self, job: Job) -> dict[str, str]:
    variables = [f"{name}={value}" for name, value in self.environment().items()]
    commands = self.commands(job, "localhost:PORT")
    lines = [shlex.join([*variables, *command]) for command in commands]

    title = f"in {jobs.ROOT}"
    if self.processes > 1:
      title += ", PORT: one that is free at the start"
    return {title: "\n".join(lines) + "\n"}

  def check(self, job: Job) -> None:
    if self.processes < 1 or min(self.devices, self.restarts, self.slots) < 0:
      raise GatoError("--processes is at least 1, --devices, --restarts and --slots at least 0")
    if self.processes > 1 and job.verb != "train":
      raise GatoError(
        f"--processes={self.processes}: only training takes several processes, not {job.verb}"
      )

    # A config may have an argument: FILE:ARGUMENT.
    if not (jobs.ROOT / job.config.partition(":")[0]).is_file():
      raise GatoError(f"--config={job.config}: no such file in {jobs.ROOT}")

  def submit(self, job: Job) -> str:
    directory = jobs.FOLDER / f"{self.name}.{job.name}"
    directory.mkdir(parents=True, exist_ok=True)

    # The supervisor inherits the lock and holds it as long as it lives.
    with open(directory / "lock", "w") as lock:
      self._take_lock(lock, directory, job.name)

      order = {"backend": dataclasses.asdict(self), "job": dataclasses.asdict(job)}
      files.write_json(directory / "order.json", order)
      files.write(directory / "state", JobState.QUEUED)

      # The supervisor inherits the blocked signal and unblocks it once it listens: a cancel that
      # comes while it still imports is not lost.
      mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
      try:
        with open(directory / "supervisor.log", "a") as log:
          supervisor = subprocess.Popen(
            [sys.executable, "-m", "launch.supervise", str(directory)],
            cwd=jobs.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock.fileno()],
          )
      finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

      files.write(directory / "pid", str(supervisor.pid))

    return str(directory)

  def _take_lock(self, lock: IO, directory: pathlib.Path, name: str) -> None:
    """Takes the lock of a job; the supervisor of one that has ended may hold it for a moment.

    Raises:
      GatoError: The job is running.
    """
    deadline = time.monotonic() + _EXIT_SECONDS
    while True:
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
      except BlockingIOError as e:
        is_over = self.state(str(directory)).over
        if not is_over or time.monotonic() > deadline:
          raise GatoError(f"{name} is running; cancel it first or choose another --name") from e
      time.sleep(0.05)

  def state(self, handle: str) -> JobState:
    directory = pathlib.Path(handle)
    if not (directory / "state").exists():
      return JobState.UNKNOWN

    # The lock is looked at before the state: a supervisor that ends in between has written its last
    # state by then.
    is_alive = _is_locked(directory)
    state = JobState((directory / "state").read_text())
    return state if is_alive or state.over else JobState.UNKNOWN

  def others(self, handle: str) -> dict[str, JobState]:
    del handle
    return {}

  def logs(self, handle: str, lines: int) -> str:
    directory = pathlib.Path(handle)
    output = []
    for path in [directory / "supervisor.log", *sorted(directory.glob("[0-9]*.log"))]:
      if not path.exists():
        continue

      # Progress bars overwrite their line with \r.
      text = path.read_text(errors="replace").replace("\r", "\n")
      last = [line for line in text.split("\n") if line.strip()][-lines:]
      if last:
        output += [f"== {path.stem}", *last]

    return "\n".join(output) + "\n"

  def cancel(self, handle: str) -> None:
    """Sends SIGTERM: training saves and ends. The second time the supervisor sends SIGKILL."""
    if self.state(handle).over:
      raise GatoError(f"it is {self.state(handle)} already")

    os.kill(int((pathlib.Path(handle) / "pid").read_text()), signal.SIGTERM)


def _is_locked(directory: pathlib.Path) -> bool:
  with open(directory / "lock") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
      return False
    except BlockingIOError:
      return True
