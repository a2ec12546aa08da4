"""The commands around a real job of this machine: submit --wait, list --json, describe, logs -f."""

import json
import pathlib
import shutil
import subprocess
import sys

import followed_page
import pytest

from launch import jobs

CONFIG = "experiments/configs/dummy.py"


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
  """Runs `python -m launch` in a copy of the repository, whose jobs are its own."""
  root = tmp_path_factory.mktemp("copy")
  for folder in ("experiments", "gato_jax", "launch", "rlds_builders"):
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(followed_page.ROOT / folder, root / folder, ignore=ignored)

  def launch(*arguments):
    command = [sys.executable, "-m", "launch", *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=300)

  return launch


@pytest.mark.slow  # six commands and a job, half a minute
def test_a_job_is_waited_for_listed_described_and_followed(launch):
  submit = ("submit", "--on=local", "--name=nothing", f"--config={CONFIG}", "--verb=report")
  waited = launch(*submit, "--wait", "--every=1")

  # There is nothing to report, which is a failure.
  assert waited.returncode == 1, waited.stdout + waited.stderr
  assert waited.stdout.splitlines()[-1] == "nothing: failed"
  assert "goes on from" not in waited.stdout

  (listed,) = json.loads(launch("list", "--json").stdout)
  described = json.loads(launch("describe", "--name=nothing").stdout)
  assert listed == described
  assert described["state"] == "failed" and described["workdir"].endswith("/work/nothing")
  assert described["job"]["config"] == CONFIG and described["settings"]["processes"] == 1

  followed = launch("logs", "--name=nothing", "-f", "--every=1")
  assert followed.returncode == 0 and "nothing to report" in followed.stdout


def test_submitting_says_from_which_step_training_goes_on(tmp_path):
  assert jobs.saved_steps(jobs.Job("never-run", CONFIG)) == []
  (tmp_path / "checkpoints/120").mkdir(parents=True)
  job = jobs.Job("a", CONFIG, (f"--config.workdir={tmp_path}",))
  assert jobs.saved_steps(job) == [120]
  twice = jobs.Job("a", CONFIG, ("--config.workdir=/x", "--config.workdir=/y"))
  assert jobs.workdir_of(twice) == pathlib.Path("/y")
