"""The package as others install it: a wheel, its extras in empty environments, three Pythons."""

import ast
import hashlib
import pathlib
import subprocess
import sys
import tomllib
import zipfile

import pytest
from pythons import UV, interpreters

import gato_jax
from gato_jax.storage import code_hash

ROOT = pathlib.Path(__file__).resolve().parents[1]
METADATA = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
  folder = tmp_path_factory.mktemp("wheel")
  pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
  subprocess.run([*pip, f"--wheel-dir={folder}", "."], cwd=ROOT, check=True)
  (path,) = folder.glob("*.whl")
  return path


def test_the_wheel_is_whole(wheel):
  names = zipfile.ZipFile(wheel).namelist()
  for needed in (
    "gato_jax/py.typed",
    "experiments/configs/studies/history.py",
    "experiments/analysis/report/base.html",
    "rlds_builders/babyai/scores.json",
    "launch/backends/gke.py",
    "launch/schemas/jobset.json",
    "launch/skypilot.yaml",
    "launch/container/Dockerfile",
  ):
    assert needed in names
  assert any(name.endswith(".model") for name in names)

  # Everything that git has of the packages, but for what only this checkout needs.
  tracked = subprocess.run(
    ["git", "ls-files", "gato_jax", "experiments", "rlds_builders", "launch"],
    cwd=ROOT,
    capture_output=True,
    text=True,
    check=True,
  ).stdout.split()
  missing = [name for name in tracked if name not in names]
  assert {pathlib.Path(name).suffix for name in missing} <= {".sh", ""}, missing
  assert f"-{gato_jax.__version__}-" in wheel.name


def test_extras_have_names_that_pip_finds_and_cover_the_pins():
  extras = METADATA["project"]["optional-dependencies"]
  assert all("_" not in name for name in extras)  # pip asks for them with hyphens

  # What an extra pins is what a machine that `make` has set up runs.
  pinned = {}
  for line in (ROOT / "constraints.txt").read_text().splitlines():
    name, _, version = line.partition("==")
    pinned[name.lower().replace("_", "-")] = version
  for requirements in extras.values():
    for requirement in requirements:
      name, _, version = requirement.partition(";")[0].strip().partition("==")
      if version and "[" not in name:
        assert pinned[name.lower().replace("_", "-")] == version, requirement


def environment(tmp_path, program, requirement):
  """Returns the folder of an environment's programs that has a wheel and an extra installed."""
  subprocess.run([program, "-m", "venv", tmp_path / "venv"], check=True)
  programs = tmp_path / "venv/bin"
  pip = [programs / "pip", "install", "-q"]
  if pathlib.Path(UV).exists():
    pip = [UV, "pip", "install", "-q", f"--python={programs}/python"]
  subprocess.run([*pip, requirement], check=True)
  return programs


def run(*command, cwd):
  return subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True)


@pytest.mark.slow  # installs an environment for each Python
@pytest.mark.parametrize("version", interpreters())
def test_a_robot_needs_little(wheel, tmp_path, version):
  programs = environment(tmp_path, interpreters()[version], wheel)
  done = run(programs / "python", "-c", "import gato_jax.serve.client", cwd=tmp_path)
  assert done.returncode == 0, done.stderr

  listed = run(programs / "pip", "list", "--format=freeze", cwd=tmp_path).stdout.split()
  # Newer versions of pip list "gato-jax".
  listed_names = {line.partition("==")[0].replace("_", "-") for line in listed}
  names = listed_names - {"pip", "setuptools", "wheel"}
  assert {"gato-jax", "dm-env", "msgpack", "numpy", "websockets"} <= names and len(names) <= 10

  # What is not installed is named, and help needs nothing.
  train = run(programs / "gato", "train", cwd=tmp_path)
  assert train.returncode == 1 and 'pip install "gato_jax[train]"' in train.stderr
  assert run(programs / "gato", "--help", cwd=tmp_path).returncode == 0
  assert run(programs / "gato", "doctor", cwd=tmp_path).returncode == 0


# Python 3.13 has no labmaze, which dm-control's simulators need.
@pytest.mark.slow  # 1.4 GB for each Python
@pytest.mark.parametrize("version", [v for v in interpreters() if v != "3.13"])
def test_the_shipped_network_plays_where_only_play_is_installed(wheel, tmp_path, version):
  programs = environment(tmp_path, interpreters()[version], f"{wheel}[play]")
  network = f"--checkpoint={ROOT}/pretrained/generalist"
  tasks = "--task=babyai.GoToObj,meta_world.button-press-v3"
  done = run(programs / "gato", "play", network, tasks, "--episodes=1", "--out=out", cwd=tmp_path)
  assert done.returncode == 0, done.stderr
  assert "meta_world.button-press-v3" in done.stdout and "left out" not in done.stderr
  assert (tmp_path / "out/report/index.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("version", interpreters())
def test_the_shipped_network_loads_where_only_act_is_installed(wheel, tmp_path, version):
  programs = environment(tmp_path, interpreters()[version], f"{wheel}[act]")
  code = (
    "from gato_jax.agent import Policy;"
    f"print(len(Policy('{ROOT}/pretrained/generalist').tasks), 'tasks')"
  )
  done = run(programs / "python", "-c", code, cwd=tmp_path)
  assert done.stdout.endswith(" tasks\n"), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("version", interpreters())
def test_a_task_is_collected_and_trained_where_only_that_is_installed(wheel, tmp_path, version):
  """TFDS writes the raw logs where EnvLogger has no wheel."""
  programs = environment(tmp_path, interpreters()[version], f"{wheel}[collect,train]")
  settings = ("--config=dummy", "--config.train.steps=2", "--config.collect.episodes=4")

  for verb in ("collect", "build", "train"):
    done = run(programs / "gato", verb, *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr

  assert (tmp_path / "work/dummy/checkpoints/2").exists()
  logs = {path.suffix for path in (tmp_path / "data/raw").rglob("*.riegeli")}
  assert bool(logs) == (version == "3.11")


_RESET = "import rlds_builders; rlds_builders.get({!r}).make_environment({!r}).reset()"

# What each extra promises, beside those with tests of their own.
PROMISES = {
  "serve": "import experiments.serve",
  "report": "import experiments.report, experiments.study",
  "evaluate": "import experiments.evaluate",
  "data": "import experiments.build, experiments.check",
  "launch": "import launch.sweep",
  "lerobot": "import rlds_builders.recordings.lerobot_writer, av, h5py",
  "buckets": "from gato_jax.storage import paths; import gcsfs, s3fs; paths.path('gs://a/b')",
  "babyai": _RESET.format("babyai", "GoToObj"),
  "control-suite": _RESET.format("control_suite", "cartpole-balance"),
  "labyrinth": _RESET.format("labyrinth", "forage"),
  "meta-world": _RESET.format("meta_world", "reach-v3"),
  "playroom": _RESET.format("playroom", "go_to"),
  "atari": _RESET.format("atari", "pong"),
}


@pytest.mark.slow  # an environment for each extra
@pytest.mark.parametrize("extra", PROMISES)
def test_an_extra_does_what_it_promises(wheel, tmp_path, extra):
  programs = environment(tmp_path, sys.executable, f"{wheel}[{extra}]")
  done = run(programs / "python", "-c", PROMISES[extra], cwd=tmp_path)
  assert done.returncode == 0, done.stderr


# Packages of C++ whose sources are compiled on installing, and one of Python without a wheel.
SOURCES = ("editdistance", "promise")


@pytest.mark.slow  # asks the package index
@pytest.mark.parametrize("platform", ["x86_64-manylinux_2_36", "aarch64-apple-darwin"])
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_every_extra_resolves(version, platform):
  sources = [f"--no-binary={name}" for name in SOURCES]
  if version != "3.13" and platform.startswith("aarch64"):
    sources.append("--no-binary=labmaze")  # Bazel builds it

  # Where all of them resolve together, each one does.
  command = [UV, "pip", "compile", "-q", "pyproject.toml", "--all-extras"]
  target = [f"--python-version={version}", f"--python-platform={platform}"]
  done = run(*command, *target, "--only-binary=:all:", *sources, cwd=ROOT)
  assert done.returncode == 0, done.stderr


def test_the_lock_is_of_these_extras():
  if not pathlib.Path(UV).exists():
    pytest.skip("uv is not here")
  done = run(UV, "lock", "--check", cwd=ROOT)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("version", interpreters())
def test_code_has_the_same_hash_in_every_python(version):
  """Or episodes that one Python collected would look old to another."""
  code = (
    "import hashlib, pathlib; from gato_jax.storage import code_hash;"
    "paths = sorted(pathlib.Path('rlds_builders').rglob('*.py'));"
    "text = ''.join(code_hash._dump(code_hash._parse(path)) for path in paths);"
    "print(len(paths), hashlib.sha256(text.encode()).hexdigest())"
  )
  done = subprocess.run(
    [interpreters()[version], "-c", code], cwd=ROOT, capture_output=True, text=True
  )
  paths = sorted((ROOT / "rlds_builders").rglob("*.py"))
  text = "".join(ast.dump(code_hash._parse(path)) for path in paths)
  expected = f"{len(paths)} {hashlib.sha256(text.encode()).hexdigest()}\n"
  assert done.stdout == expected, done.stderr
