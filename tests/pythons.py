"""Runs quick tests of the core on every other Python that is on this machine.

python tests/pythons.py [pytest options] [test files]

Each Python has an environment of its own, .venv/pythonX.Y, with the versions of uv.lock. The tests
go from the simulator to the served action: raw logs, datasets, training, acting, the server.
"""

import os
import pathlib
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
UV = shutil.which("uv") or str(ROOT / ".venv/bin/uv")
VERSIONS = ("3.11", "3.12", "3.13")

EXTRAS = ("act", "collect", "data", "report", "serve", "train")
TESTS = (
  "tests/env/test_log_files.py",
  "tests/env/test_results.py",
  "tests/data/test_data.py",
  "tests/train/test_train.py",
  "tests/agent/test_agent.py",
  "tests/serve/test_serve.py",
)


def interpreters() -> dict[str, str]:
  """Returns version -> program of each Python that is here and that the package supports."""
  found = {}
  for version in VERSIONS:
    pyenv = sorted(pathlib.Path("~/.pyenv/versions").expanduser().glob(f"{version}.*/bin/python"))
    candidates = [shutil.which(f"python{version}"), *map(str, reversed(pyenv))]
    for program in filter(None, candidates):
      # pyenv's shims exist for versions that are not chosen, and fail.
      if subprocess.run([program, "-c", ""], capture_output=True).returncode == 0:
        found[version] = program
        break
  return found


def install(version: str, program: str) -> pathlib.Path:
  """Installs the locked packages for a Python; returns the environment's directory."""
  environment = ROOT / f".venv/python{version}"
  extras = [f"--extra={extra}" for extra in EXTRAS]
  subprocess.run(
    [UV, "sync", "--frozen", "--quiet", "--compile-bytecode", "--group=test", *extras],
    cwd=ROOT,
    env=os.environ | {"UV_PROJECT_ENVIRONMENT": str(environment), "UV_PYTHON": program},
    check=True,
  )
  return environment


def main() -> int:
  own = "{}.{}".format(*sys.version_info)
  others = {version: path for version, path in interpreters().items() if version != own}
  if not others:
    print(f"pythons: no other Python of {', '.join(VERSIONS)} is here", file=sys.stderr)
    return 0

  if not pathlib.Path(UV).exists():
    print(
      "pythons: uv is missing, which installs the other environments; pip install uv",
      file=sys.stderr,
    )
    return 1

  failed = []
  for version, program in others.items():
    print(f"pythons: {version}, {program}", flush=True)
    environment = install(version, program)
    command = [environment / "bin/python", "tests/run.py", "--jobs=2", *(sys.argv[1:] or TESTS)]
    if subprocess.run(command, cwd=ROOT).returncode:
      failed.append(version)

  if failed:
    print(f"pythons: tests failed on {', '.join(failed)}", file=sys.stderr)
  return bool(failed)


if __name__ == "__main__":
  sys.exit(main())
