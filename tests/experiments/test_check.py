"""experiments.check for the author of a new domain: each fault is a line that names the task."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import commands
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDERS = ("experiments", "gato_jax", "rlds_builders")
BUILDER = """from rlds_builders import faulty
from rlds_builders.base import rlds_builder


class Builder(rlds_builder.EpisodeBuilder):
  DOMAIN = faulty.DOMAIN
  BUILDER_CONFIGS = rlds_builder.configs(faulty.DOMAIN)
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
  """A copy of the repository with one more domain."""
  root = tmp_path_factory.mktemp("copy")
  for folder in FOLDERS:
    shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
  add_domain(root, "faulty", "from faulty_domain import DOMAIN  # noqa: F401\n", BUILDER)
  return root


def add_domain(root, folder, init, builder=""):
  (root / "rlds_builders" / folder).mkdir()
  (root / "rlds_builders" / folder / "__init__.py").write_text(init)
  (root / "rlds_builders" / folder / f"{folder}_dataset_builder.py").write_text(builder)


def environment(root):
  """Returns the environment of a command in the copy."""
  paths = [str(root), str(ROOT / "tests" / "support")]
  return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def run(root, verb, *arguments):
  """Runs a verb in the copy."""
  done = commands.run(f"experiments.{verb}", *arguments, cwd=root, env=environment(root))

  assert "Traceback" not in done.stdout + done.stderr, done.stderr
  return done


def check(root, *arguments):
  return run(root, "check", "--episodes=2", "--sequence_length=128", *arguments)


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

  assert names == ["faulty.fine, faulty.shared", "faulty.pair"] and actions == [
    "32000..33023",
    "0..14, 0..2",
  ]
  assert (
    len(re.findall(r"^  action: \[", done.stdout, re.MULTILINE)) == 2
  )  # a first step of each layout


@pytest.mark.slow  # a copy of the dummy domain, built
def test_a_dataset_that_cannot_be_built_is_a_line(copy, tmp_path):
  done = check(copy, "--domain=d4rl_mujoco", "--tasks=ant-expert", f"--data_dir={tmp_path}")
  assert done.returncode == 1
  assert re.search(r"^FAIL d4rl_mujoco\.\S+: tfds:\S+ is not in ", done.stdout, re.MULTILINE), (
    done.stdout
  )


BROKEN = {
  "raising": (
    "x = 1\n1 / 0\n",
    "domain raising cannot be imported: ZeroDivisionError: division by zero ({init}:2)",
  ),
  "unreadable": (
    "DOMAIN = (\n",
    "domain unreadable cannot be imported: SyntaxError: '(' was never closed ({init}:1)",
  ),
  "lacking": ("import no_such_package\n", "No module named 'no_such_package' ({init}:1)"),
  "nameless": ("x = 1\n", "module 'rlds_builders.nameless' has no attribute 'DOMAIN'"),
  "twin": (
    "from faulty_domain import DOMAIN\n",
    "{init}: DOMAIN.name is 'faulty', which is the domain of {root}/faulty",
  ),
  "renamed": (
    "from gato_jax.domain import Domain\nDOMAIN = Domain(name='before', tasks=(), weight=1.0)\n",
    "{init}: DOMAIN.name is 'before'; it must be 'renamed', as its folder",
  ),
}
GET_ALL = """import sys, rlds_builders
from gato_jax.errors import GatoError
for name in sys.argv[1:]:
  try:
    print(rlds_builders.get(name).name)
  except GatoError as e:
    print(e)
"""


def test_a_broken_domain_concerns_only_those_who_name_it(copy):
  root = copy / "rlds_builders"
  for folder, (init, _) in BROKEN.items():
    add_domain(copy, folder, init)

  try:
    command = [sys.executable, "-c", GET_ALL, *BROKEN, "faulty"]
    got = subprocess.run(
      command, cwd=copy, env=environment(copy), capture_output=True, text=True, check=True
    )
    said = got.stdout.splitlines()
    assert said[-1] == "faulty" and len(said) == len(BROKEN) + 1

    for line, (folder, (_, expected)) in zip(said, BROKEN.items(), strict=False):
      assert expected.format(init=root / folder / "__init__.py", root=root) in line, line

    done = check(copy, "--domain=twin", "--data_dir=nothing")

    assert done.returncode == 1 and not (copy / "nothing").exists()
    assert done.stderr.splitlines() == [f"error: {said[list(BROKEN).index('twin')]}"]

    others = run(copy, "describe", "--config=experiments/configs/dummy.py")

    assert others.returncode == 0, others.stderr
  finally:
    for folder in BROKEN:
      shutil.rmtree(root / folder)
