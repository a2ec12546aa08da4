"""experiments.check as the author of a new domain meets it: each fault is a line that names the task."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("experiments", "gato_jax", "rlds_builders")
BUILDER = """from rlds_builders import _builder, faulty


class Builder(_builder.EpisodeBuilder):
  DOMAIN = faulty.DOMAIN
  BUILDER_CONFIGS = _builder.configs(faulty.DOMAIN)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
  """The repository with one domain more."""
  root = tmp_path_factory.mktemp("copy")
  for folder in FOLDERS:
    shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
  add_domain(root, "faulty", "from faulty_domain import DOMAIN  # noqa: F401\n", BUILDER)
  return root


def add_domain(root, folder, init, builder=""):
  (root / "rlds_builders" / folder).mkdir()
  (root / "rlds_builders" / folder / "__init__.py").write_text(init)
  (root / "rlds_builders" / folder / f"{folder}_dataset_builder.py").write_text(builder)


def check(root, *arguments):
  paths = os.pathsep.join([str(root), str(ROOT / "tests")])
  command = [sys.executable, "-m", "experiments.check", "--episodes=2", "--sequence_length=128", *arguments]
  environment = os.environ | {"PYTHONPATH": paths}
  done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)
  assert "Traceback" not in done.stdout + done.stderr, done.stderr
  return done


def test_every_fault_of_an_environment_is_a_line_and_the_other_tasks_go_on(copy):
  done = check(copy, "--domain=faulty")
  assert done.returncode == 1, done.stderr
  failed = re.findall(r"^FAIL faulty\.(\w+): (.*)$", done.stdout, re.MULTILINE)
  faults = {
    "wrong_field": r"the spec has \[.*'odometer'\], the observation \[.*'clock'.*\]",
    "wrong_bounds": "observation 'clock' is not what its spec says: Values were not all within bounds 5 <= .* <= 9",
    "image_84": "camera: image sides 84x84 must be multiples of 16",
    "no_bounds": "the action spec needs finite bounds",
    "fresh": r"breaks dm_env's contract \(dm_env.test_utils\): calling step\(\) on a fresh environment must produce",
    "raises": r".*ValueError: the simulator is broken \(.*faulty_domain.py:\d+\)",
    "no_text": "text field 'answer' needs an entry in the domain's max_text_tokens",
  }
  assert [task for task, _ in failed] == list(faults), done.stdout
  for task, line in failed:
    assert re.match(faults[task], line), line

  sound = re.findall(r"^ok   faulty\.(\w+):", done.stdout, re.MULTILINE)
  assert sound == ["fine", "shared", "pair"]
  assert not list((copy / "data/raw/faulty").glob("wrong_*"))  # nobody played it
  names = re.findall(r"^(.*): 26 tokens a step", done.stdout, re.MULTILINE)
  actions = re.findall(r"^action +\w+ +2 +(.*?)  ", done.stdout, re.MULTILINE)
  assert names == ["faulty.fine, faulty.shared", "faulty.pair"] and actions == ["32000..33023", "0..14, 0..2"]
  assert len(re.findall(r"^  action: \[", done.stdout, re.MULTILINE)) == 2  # a first step of each layout


def test_a_dataset_that_cannot_be_built_is_a_line(copy, tmp_path):
  done = check(copy, "--domain=d4rl_mujoco", "--tasks=ant-expert", f"--data_dir={tmp_path}")
  assert done.returncode == 1
  assert re.search(r"^FAIL d4rl_mujoco\.\S+: tfds:\S+ is not in ", done.stdout, re.MULTILINE), done.stdout
