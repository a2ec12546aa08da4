"""The example for SkyPilot: what its machines would run, and what SkyPilot says about the file."""

import os
import subprocess

import pytest
import yaml

from launch import jobs

FILE = jobs.ROOT / "launch/skypilot.yaml"
SKY = jobs.ROOT / ".venv/sky/bin/python"


def run(tmp_path, ends, **environment):
  """Runs the file's script with a python that writes down its arguments and ends as given."""
  (tmp_path / ".venv/bin").mkdir(parents=True)
  python = tmp_path / ".venv/bin/python"
  python.write_text(
    f'#!/bin/bash\necho "$*" >>{tmp_path}/asked\nends=({" ".join(map(str, ends))})\n'
    f"exit ${{ends[$(wc -l <{tmp_path}/asked) - 1]}}\n"
  )
  python.chmod(0o755)

  task = yaml.safe_load(FILE.read_text())
  variables = {**task["envs"], "BUCKET": "lab", "SKYPILOT_NUM_NODES": "1", **environment}
  done = subprocess.run(["bash", "-c", task["run"]], cwd=tmp_path, env=os.environ | variables)
  return done.returncode, (tmp_path / "asked").read_text().splitlines()


def test_it_trains_in_the_bucket_and_goes_on_after_sigterm(tmp_path):
  status, asked = run(tmp_path, [42, 0], CONFIG="gato_1b", NAME="big")
  assert status == 0 and asked == 2 * [
    "-m experiments.train --config=experiments/configs/gato_1b.py"
    " --config.data_dir=gs://lab/data --config.workdir=gs://lab/work/big"
  ]


def test_a_failure_is_the_jobs(tmp_path):
  assert run(tmp_path, [1])[0] == 1


def test_nodes_train_together(tmp_path):
  nodes = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1", "SKYPILOT_NODE_IPS": "10.0.0.1\n2"}
  _, (asked,) = run(tmp_path, [0], **nodes)
  assert asked.endswith("--coordinator=10.0.0.1:8476 --processes=2 --process=1")


@pytest.mark.slow  # 460 MB to install
@pytest.mark.skipif(not SKY.exists(), reason="`make setup-slow-tests` could not install SkyPilot")
def test_skypilot_reads_it(tmp_path):
  code = (
    "import sys, sky; task = sky.Task.from_yaml(sys.argv[1]); (resources,) = task.resources;"
    "print(resources.accelerators, resources.use_spot, task.num_nodes)"
  )
  environment = os.environ | {"HOME": str(tmp_path), "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
  read = lambda file: subprocess.run(  # noqa: E731
    [SKY, "-c", code, str(file)], env=environment, capture_output=True, text=True
  )
  done = read(FILE)
  assert done.stdout.split("\n")[0] == "{'H100': 8} True 1", done.stderr

  # A field that SkyPilot does not know is one that it would not do.
  (tmp_path / "wrong.yaml").write_text(FILE.read_text() + "\nno_such_field: 1\n")
  assert read(tmp_path / "wrong.yaml").returncode != 0
