"""This machine: a job in the background, as one process or several, with simulated devices if asked."""

import dataclasses
import fcntl
import os
import pathlib
import shlex
import signal
import subprocess
import sys
from typing import ClassVar

from gato_jax import files
from gato_jax.errors import GatoError
from launch import jobs
from launch.jobs import Job, State, setting


@dataclasses.dataclass(frozen=True)
class Local:
  """launch/supervise.py starts the processes and outlives the shell; a handle is its folder, with state and logs."""

  name: ClassVar[str] = "local"
  processes: int = setting(1, "Processes that train together.")
  devices: int = setting(0, "CPU devices that each process simulates; 0: the devices that the machine has.")
  restarts: int = setting(0, "Times to start again after exit status 42 (SIGTERM: saved).")
  slots: int = setting(0, "Jobs that run at one time, this one waits for its turn; 0: any number.")

  def commands(self, job: Job, address: str) -> list[list[str]]:
    """One a process; address: host:port of the first one."""
    command = [sys.executable, *job.arguments()]
    if self.processes == 1:
      return [command]
    joint = [f"--coordinator={address}", f"--processes={self.processes}"]
    return [[*command, *joint, f"--process={i}"] for i in range(self.processes)]

  def environment(self) -> dict[str, str]:
    if not self.devices:
      return {}
    return {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": f"--xla_force_host_platform_device_count={self.devices}"}

  def render(self, job: Job) -> dict[str, str]:
    variables = [f"{name}={value}" for name, value in self.environment().items()]
    lines = [shlex.join([*variables, *command]) for command in self.commands(job, "localhost:PORT")]
    title = f"in {jobs.ROOT}" + (", PORT: one that is free at the start" if self.processes > 1 else "")
    return {title: "\n".join(lines) + "\n"}

  def check(self, job: Job) -> None:
    if min(self.processes, self.devices + 1, self.restarts + 1, self.slots + 1) < 1:
      raise GatoError("--processes is at least 1, --devices, --restarts and --slots at least 0")
    if self.processes > 1 and job.verb != "train":
      raise GatoError(f"--processes={self.processes}: only training takes several processes, not {job.verb}")
    if not (jobs.ROOT / job.config.partition(":")[0]).is_file():
      raise GatoError(f"--config={job.config}: no such file in {jobs.ROOT}")

  def submit(self, job: Job) -> str:
    folder = jobs.FOLDER / f"{self.name}.{job.name}"
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:  # the supervisor inherits it and holds it as long as it lives
      try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError as e:
        raise GatoError(f"{job.name} is running; cancel it first or choose another --name") from e
      order = {"backend": dataclasses.asdict(self), "job": dataclasses.asdict(job)}
      files.write_json(folder / "order.json", order)
      files.write(folder / "state", State.QUEUED)
      # held back until the supervisor listens: a cancel that comes while it still imports is not lost on it
      mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
      try:
        with open(folder / "supervisor.log", "a") as log:
          supervisor = subprocess.Popen(
            [sys.executable, "-m", "launch.supervise", str(folder)],
            cwd=jobs.ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            pass_fds=[lock.fileno()],
          )  # fmt: skip
      finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
      files.write(folder / "pid", str(supervisor.pid))
    return str(folder)

  def state(self, handle: str) -> State:
    folder = pathlib.Path(handle)
    if not (folder / "state").exists():
      return State.UNKNOWN
    lives = _is_locked(folder)  # asked first: who ends in between has written its state
    state = State((folder / "state").read_text())
    return state if lives or state.over else State.UNKNOWN

  def logs(self, handle: str, lines: int) -> str:
    folder, parts = pathlib.Path(handle), []
    for path in [folder / "supervisor.log", *sorted(folder.glob("[0-9]*.log"))]:
      said = path.read_text(errors="replace").replace("\r", "\n") if path.exists() else ""
      kept = [line for line in said.split("\n") if line.strip()][-lines:]
      parts += [f"== {path.stem}", *kept] if kept else []
    return "\n".join(parts) + "\n"

  def cancel(self, handle: str) -> None:
    """SIGTERM: training saves and ends; a second time SIGKILL."""
    if self.state(handle).over:
      raise GatoError(f"it is {self.state(handle)} already")
    os.kill(int((pathlib.Path(handle) / "pid").read_text()), signal.SIGTERM)


def _is_locked(folder: pathlib.Path) -> bool:
  with open(folder / "lock") as lock:
    try:
      fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
      return False
    except BlockingIOError:
      return True
