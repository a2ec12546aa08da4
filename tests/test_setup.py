"""launch/setup.sh on machines that lack something: one line of advice and an exit status."""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOOLS = ("bash", "dirname", "flock", "sha256sum", "cut", "env")


def setup(folder: pathlib.Path, **environment: str) -> subprocess.CompletedProcess:
  """Runs the script in a copy of its files, with a PATH that has nothing but the shell's tools."""
  shutil.copytree(ROOT / "launch", folder / "launch")
  for name in ("requirements.txt", "constraints.txt", "setup.py", "pyproject.toml"):
    shutil.copy(ROOT / name, folder)
  (folder / "rlds_builders/procgen").mkdir(parents=True)
  shutil.copy(ROOT / "rlds_builders/procgen/requirements.txt", folder / "rlds_builders/procgen")
  tools = folder / "bin"
  tools.mkdir()
  for tool in TOOLS:
    (tools / tool).symlink_to(shutil.which(tool))
  return subprocess.run(
    [tools / "bash", "launch/setup.sh"],
    cwd=folder,
    env={"PATH": str(tools), **environment},
    capture_output=True,
    text=True,
  )


def test_without_python_311(tmp_path):
  done = setup(tmp_path)
  assert done.returncode == 1
  (line,) = done.stderr.splitlines()
  assert "Python 3.11 not found" in line and "apt-get install -y python3.11" in line
  assert not (tmp_path / ".venv").exists()


def test_with_a_system_library_that_does_not_load(tmp_path):
  libraries = tmp_path / "lib"
  libraries.mkdir()
  (libraries / "libOSMesa.so.8").touch()  # an empty file: the loader refuses it
  done = setup(tmp_path, PYTHON=os.path.realpath(sys.executable), LD_LIBRARY_PATH=str(libraries))

  assert done.returncode == 1

  (line,) = done.stderr.splitlines()

  assert line.startswith("setup: system packages are missing") and "libosmesa6" in line
  assert not (tmp_path / ".venv").exists()


def test_what_is_done_is_not_repeated(tmp_path):
  """With a valid stamp the script says nothing and installs nothing."""
  done = subprocess.run(["bash", "launch/setup.sh"], cwd=ROOT, capture_output=True, text=True)
  stamp = ROOT / ".venv" / "setup.stamp"

  assert done.returncode == 0 and stamp.exists(), done.stderr

  written = stamp.stat().st_mtime_ns
  done = subprocess.run(["bash", "launch/setup.sh"], cwd=ROOT, capture_output=True, text=True)

  assert (done.returncode, done.stdout, done.stderr) == (
    0,
    "",
    "",
  ) and stamp.stat().st_mtime_ns == written
