"""Slurm: one batch script, which starts a process a task and queues itself again after SIGTERM."""

import dataclasses
import pathlib
import shlex
import sys
from typing import ClassVar

from gato_jax.errors import GatoError
from gato_jax.train.config import PREEMPTED
from launch import jobs
from launch.jobs import Job, JobState, setting

# All other states of Slurm are ways to fail.
_STATES = {
  "PENDING": JobState.QUEUED,
  "CONFIGURING": JobState.QUEUED,
  "REQUEUED": JobState.QUEUED,
  "REQUEUE_FED": JobState.QUEUED,
  "REQUEUE_HOLD": JobState.QUEUED,
  "SPECIAL_EXIT": JobState.QUEUED,
  "SUSPENDED": JobState.QUEUED,
  "RESV_DEL_HOLD": JobState.QUEUED,
  "RUNNING": JobState.RUNNING,
  "COMPLETING": JobState.RUNNING,
  "STAGE_OUT": JobState.RUNNING,
  "SIGNALING": JobState.RUNNING,
  "STOPPED": JobState.RUNNING,
  "RESIZING": JobState.RUNNING,
  "COMPLETED": JobState.DONE,
  "CANCELLED": JobState.CANCELLED,
  "REVOKED": JobState.CANCELLED,
}

# The shell waits for its step to save, and queues the job again unless Slurm or a person has ended
# it already.
_SCRIPT = """\
#!/bin/bash
{options}
trap : TERM
cd {directory} || exit 1
{before}srun --kill-on-bad-exit=0 {command} &
step=$!
while true; do
  wait "$step"
  status=$?
  kill -0 "$step" 2>/dev/null || break  # a signal ended the waiting, not the step
done
if [[ "$status" =~ ^({again})$ ]] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" \
= RUNNING ]; then
  scontrol requeue "$SLURM_JOB_ID"
  exit "$status"
fi
echo "$status" > {exit_file}
exit "$status"
"""


@dataclasses.dataclass(frozen=True)
class Slurm:
  """Batch jobs, submitted from here: this machine is the login node.

  The checkout, .venv and data lie on a file system that the nodes share. A handle is "JOBID NAME".
  """

  name: ClassVar[str] = "slurm"
  partition: str = setting("", "Partition.")
  account: str = setting("", "Account that is charged.")
  nodes: int = setting(1, "Nodes.")
  tasks_per_node: int = setting(1, "Processes a node, as many as it has GPUs.")
  gpus_per_task: int = setting(0, "GPUs of a process: 1, or 0 on machines without.")
  cpus_per_task: int = setting(0, "CPUs of a process; 0: the partition's default.")
  time: str = setting(
    "", "Time limit of one turn, as Slurm writes it; the job goes on in the next turn."
  )
  grace: int = setting(
    120, "Seconds before the time limit at which training saves and queues again."
  )
  devices: int = setting(
    0, "CPU devices that each process simulates; 0: the devices that the machine has."
  )
  before: str = setting("", "Shell line before training, e.g. 'module load cuda'.")
  sbatch: str = setting("", "More options of sbatch, e.g. '--exclusive --constraint=h100'.")

  def render(self, job: Job) -> dict[str, str]:
    return {"standard input of: " + shlex.join(self._command()): self._script(job)}

  def check(self, job: Job) -> None:
    at_least_one = min(self.nodes, self.tasks_per_node)
    at_least_zero = min(self.gpus_per_task, self.cpus_per_task, self.grace)
    if at_least_one < 1 or at_least_zero < 0:
      raise GatoError(
        "--nodes and --tasks_per_node are at least 1, --gpus_per_task, --cpus_per_task and --grace"
        " 0"
      )
    if self.nodes * self.tasks_per_node > 1 and job.verb != "train":
      raise GatoError(
        f"only training takes several processes, not {job.verb}: --nodes=1 --tasks_per_node=1"
      )

    jobs.run([*self._command(), "--test-only"], self._script(job))

  def submit(self, job: Job) -> str:
    # Files that an earlier job of the same name has left would be read as this one's end.
    self._exit_file(job.name).unlink(missing_ok=True)
    jobs.cancelled(self.name, job.name).unlink(missing_ok=True)

    # sbatch --parsable prints "JOBID" or "JOBID;CLUSTER".
    output = jobs.run(self._command(), self._script(job))
    job_id = output.strip().partition(";")[0]
    return f"{job_id} {job.name}"

  def state(self, handle: str) -> JobState:
    job_id, name = handle.split()
    listed = jobs.run(["squeue", "--noheader", "--states=all", "--format=%i %T"])
    states = dict(line.split() for line in listed.splitlines())
    if job_id in states:
      return _STATES.get(states[job_id], JobState.FAILED)

    # Slurm forgets a job minutes after its end (MinJobAge); the files remember it.
    if jobs.cancelled(self.name, name).exists():
      return JobState.CANCELLED

    exit_file = self._exit_file(name)
    status = exit_file.read_text().strip() if exit_file.exists() else ""
    return {"": JobState.UNKNOWN, "0": JobState.DONE}.get(status, JobState.FAILED)

  def others(self, handle: str) -> dict[str, JobState]:
    del handle
    return {}

  def logs(self, handle: str, lines: int) -> str:
    path = self._log(handle.split()[1])
    if not path.exists():
      raise GatoError(f"{path} does not exist yet")

    # Progress bars overwrite their line with \r.
    text = path.read_text(errors="replace").replace("\r", "\n")
    last = [line for line in text.split("\n") if line.strip()][-lines:]
    return "\n".join(last) + "\n"

  def cancel(self, handle: str) -> None:
    """Sends SIGTERM to all, and SIGKILL KillWait seconds later (slurm.conf; 30 by default)."""
    job_id, name = handle.split()
    state = self.state(handle)
    if state.over:
      raise GatoError(f"it is {state} already")

    jobs.cancelled(self.name, name).touch()
    jobs.run(["scancel", job_id])

  def _command(self) -> list[str]:
    return ["sbatch", "--parsable", *shlex.split(self.sbatch)]

  def _script(self, job: Job) -> str:
    options = {
      "job-name": job.name,
      "nodes": self.nodes,
      "ntasks-per-node": self.tasks_per_node,
      "gpus-per-task": self.gpus_per_task,
      "cpus-per-task": self.cpus_per_task,
      "partition": self.partition,
      "account": self.account,
      "time": self.time,
      "signal": f"TERM@{self.grace}" if self.time else "",
      "output": self._log(job.name),
      "open-mode": "append",
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value]
    lines.append("#SBATCH --requeue")

    before = f"{self.before}\n" if self.before else ""
    if self.devices:
      xla_flags = f"--xla_force_host_platform_device_count={self.devices}"
      before += f"export JAX_PLATFORMS=cpu XLA_FLAGS={xla_flags}\n"

    return _SCRIPT.format(
      options="\n".join(lines),
      directory=shlex.quote(str(jobs.ROOT)),
      before=before,
      command=shlex.join([sys.executable, *job.arguments()]),
      again=f"{PREEMPTED}|{jobs.TERMINATED}",
      exit_file=shlex.quote(str(self._exit_file(job.name))),
    )

  def _log(self, name: str) -> pathlib.Path:
    return jobs.FOLDER / f"{self.name}.{name}.log"

  def _exit_file(self, name: str) -> pathlib.Path:
    return jobs.FOLDER / f"{self.name}.{name}.exit"
