"""launch on a real Slurm.

Two nodes, a preemption by a job that matters more, and the same losses as without it.
"""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import slurm_cluster
import train_process
from slurm_cluster import until
from tiny_run import STEPS, TINY, rows

from gato_jax.errors import GatoError
from gato_jax.train import provenance
from launch import jobs
from launch.backends.slurm import Slurm


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
  """The folder in which a cluster runs, with this process's environment and job records set to it."""
  if not shutil.which("sbatch"):
    pytest.skip(
      f"Slurm is not installed and apt could not install it: apt-get install {slurm_cluster.PACKAGES}"
    )

  folder = tmp_path_factory.mktemp("slurm")

  with slurm_cluster.cluster(folder) as environment, pytest.MonkeyPatch.context() as patch:
    for name, value in environment.items():
      patch.setenv(name, value)
    patch.setenv("JAX_COMPILATION_CACHE_DIR", train_process.cache())
    patch.setattr(jobs, "FOLDER", folder / "records")
    yield folder


def test_a_wrong_partition_or_too_many_nodes_is_one_line_before_anything_is_sent(slurm):
  job = jobs.Job("refused", "experiments/configs/dummy.py")
  for backend, said in (
    (Slurm(partition="nowhere"), "nvalid partition"),
    (Slurm(nodes=3), "configuration is not available"),
  ):
    with pytest.raises(GatoError, match=said) as error:
      jobs.submit(backend, job)
    assert "\n" not in str(error.value)

  assert not jobs.records()
  assert not subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout


# two minutes; SIGTERM, saving and going on are in tests/train/test_processes.py and test_elastic.py
@pytest.mark.slow
def test_preempted_saved_requeued_resumed_same_losses(slurm, dummy_tfds):
  settings = (*TINY, f"--config.data_dir={dummy_tfds.parent}")
  backend = Slurm(nodes=2, time="5")
  workdir = slurm / "preempted"
  job = jobs.Job(
    "preempted", "experiments/configs/dummy.py", (*settings, f"--config.workdir={workdir}")
  )
  record = jobs.submit(backend, job)

  with pytest.raises(GatoError, match="cancel it first"):
    jobs.submit(backend, job)

  until(lambda: len(rows(workdir)) >= 3, 240)

  assert backend.state(record.handle) == jobs.JobState.RUNNING

  urgent = [
    "sbatch",
    "--parsable",
    "--partition=high",
    "--nodes=2",
    "--wrap=srun sleep 1",
    "--output=/dev/null",
  ]
  urgent = subprocess.run(urgent, capture_output=True, text=True, check=True).stdout.strip()

  # the same without a preemption, on two devices of one process, while Slurm is busy
  alone = [sys.executable, *job.arguments(), f"--config.workdir={slurm / 'alone'}"]

  with train_process.process(alone, devices=2) as process:
    until(lambda: backend.state(record.handle) == jobs.JobState.QUEUED, 240)
    shown = ["scontrol", "show", "job", record.handle.split()[0]]

    assert "Restarts=1" in subprocess.run(shown, capture_output=True, text=True).stdout

    saved = train_process.newest(workdir)

    assert 3 <= saved < STEPS
    assert f"SIGTERM: saved step {saved}" in backend.logs(record.handle, 200)

    until(lambda: backend.state(record.handle).over, 240)

    assert backend.state(record.handle) == jobs.JobState.DONE, backend.logs(record.handle, 40)

    error = process.communicate(timeout=train_process.TIMEOUT)[1]

    assert process.returncode == 0, error

  assert (
    urgent not in subprocess.run(["squeue", "--noheader"], capture_output=True, text=True).stdout
  )

  ours, theirs = rows(workdir), rows(slurm / "alone")

  assert (
    [row["step"] for row in ours] == [row["step"] for row in theirs] == list(range(1, STEPS + 1))
  )
  np.testing.assert_allclose(
    [row["loss"] for row in ours], [row["loss"] for row in theirs], rtol=1e-5
  )

  config = json.loads((workdir / "config.json").read_text())

  assert config["train"]["steps"] == STEPS

  starts = provenance.read(workdir)

  assert [start.step for start in starts] == [0, saved]
  assert {(start.processes, start.revision) for start in starts} == {(2, provenance.revision())}

  until(
    lambda: not backend_knows(record.handle), 60
  )  # MinJobAge later only the script's own word is left

  assert backend.state(record.handle) == jobs.JobState.DONE


def backend_knows(handle: str) -> bool:
  listed = ["squeue", "--noheader", "--states=all", "--format=%i"]
  return handle.split()[0] in subprocess.run(listed, capture_output=True, text=True).stdout.split()


def test_cancelled_while_it_waits(slurm):
  backend = Slurm(nodes=2, sbatch="--hold")
  record = jobs.submit(backend, jobs.Job("held", "experiments/configs/dummy.py"))

  assert backend.state(record.handle) == jobs.JobState.QUEUED

  backend.cancel(record.handle)
  until(lambda: backend.state(record.handle) == jobs.JobState.CANCELLED, 20)

  with pytest.raises(GatoError, match="cancelled already"):
    backend.cancel(record.handle)
  assert os.path.exists(slurm / "records" / "slurm.held.json")
