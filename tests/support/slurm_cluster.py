"""A real Slurm cluster of two nodes on this machine.

Munged, slurmctld and two slurmds, in a directory and on ports of their own.
"""

import contextlib
import os
import pathlib
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

PACKAGES = ("slurm-wlm", "slurm-wlm-basic-plugins", "munge")
_CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdPidFile={folder}/%n.pid
SlurmdLogFile={folder}/%n.log
SlurmdSpoolDir={folder}/%n
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,sched_min_interval=100000,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
ReturnToService=2
KillWait=60
MinJobAge=5
NodeName={host} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName={host}-two NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=low Nodes=ALL Default=YES PriorityTier=1 GraceTime=60 MaxTime=10
PartitionName=high Nodes=ALL PriorityTier=2 MaxTime=10
"""


@contextlib.contextmanager
def cluster(folder: pathlib.Path) -> Iterator[dict[str, str]]:
  """Yields the environment in which Slurm's commands reach the cluster.

  Ends only the daemons that it started.
  """
  host = socket.gethostname().partition(".")[0]  # JAX asks the first node's name for its address

  with contextlib.ExitStack() as sockets:
    free = [sockets.enter_context(socket.socket()) for _ in range(3)]
    for each in free:
      each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in free]

  (folder / "state").mkdir()
  config = folder / "slurm.conf"
  config.write_text(_CONFIG.format(folder=folder, host=host, ports=ports))
  key = folder / "munge.key"
  key.write_bytes(secrets.token_bytes(128))
  key.chmod(0o400)
  environment = os.environ | {"SLURM_CONF": str(config)}
  munge = [
    f"--{name}={folder}/munge.{name.split('-')[0]}"
    for name in ("socket", "key-file", "pid-file", "log-file")
  ]
  daemons = [
    ["munged", "--foreground", "--force", *munge, f"--seed-file={folder}/munge.seed"],
    ["slurmctld", "-D", "-f", str(config)],
    ["slurmd", "-D", "-f", str(config), "-N", host],
    ["slurmd", "-D", "-f", str(config), "-N", f"{host}-two"],
  ]

  with contextlib.ExitStack() as stack:
    for command in daemons:
      log = stack.enter_context(open(folder / f"{command[0]}.out", "a"))
      daemon = subprocess.Popen(
        [shutil.which(command[0], path=os.environ["PATH"] + ":/usr/sbin"), *command[1:]],
        env=environment,
        stdout=log,
        stderr=log,
        start_new_session=True,
      )
      stack.callback(_end, daemon)
      if command[0] == "munged":
        until(lambda: (folder / "munge.socket").exists(), 10)

    idle = ("sinfo", "--Node", "--noheader", "--partition=low", "--format=%T")
    until(lambda: _run(environment, *idle).split() == ["idle", "idle"], 30)

    try:
      yield environment
    finally:
      _run(environment, "scancel", "--user=root")
      _run(environment, "scancel", "--user=root", "--signal=KILL", "--full")
      until(lambda: not _run(environment, "squeue", "--noheader"), 30)


def _run(environment: dict[str, str], *command: str) -> str:
  return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def _end(daemon: subprocess.Popen) -> None:
  daemon.send_signal(signal.SIGTERM)
  try:
    daemon.wait(20)
  except subprocess.TimeoutExpired:
    daemon.kill()
    daemon.wait()


def until(condition, seconds: float) -> None:
  """Waits for the condition; fails if it does not become true in time."""
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, f"not so within {seconds} s"
    time.sleep(0.2)
