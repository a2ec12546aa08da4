"""Size of an environment for each use: packages and MiB, and the largest packages.

python benchmarks/environment_size.py                       # 3.11, the extras of docs/install.md
python benchmarks/environment_size.py --python=3.12 act     # some extras, another Python

Each extra is installed by uv from uv.lock into an environment of its own, without compiled modules.
A row an extra goes to results/environment_size.jsonl, which replaces the one
before of the same extra and Python.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from gato_jax.storage import files

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "environment_size.jsonl"

EXTRAS = ("client", "act", "serve", "report", "collect", "train", "simulators", "play", "all")
LARGEST = 6
MIB = 1 << 20


def size(path: pathlib.Path) -> int:
  """Returns the bytes of a file, or of all files below a directory."""
  if path.is_file():
    return path.stat().st_size
  return sum(file.lstat().st_size for file in path.rglob("*") if not file.is_dir())


def measure(extra: str, python: str) -> dict:
  """Returns the row of an extra."""
  uv = shutil.which("uv") or str(ROOT / ".venv/bin/uv")

  with tempfile.TemporaryDirectory(dir=ROOT.parent) as folder:
    environment = os.environ | {"UV_PROJECT_ENVIRONMENT": folder, "UV_LINK_MODE": "copy"}
    subprocess.run(
      [uv, "sync", "--frozen", "--quiet", "--no-dev", f"--python={python}", f"--extra={extra}"],
      cwd=ROOT,
      env=environment,
      check=True,
    )
    (packages,) = pathlib.Path(folder).glob("lib/python*/site-packages")

    # A package is a directory of modules, or that of its libraries.
    parts = {path.name: size(path) for path in packages.iterdir()}
    largest = sorted(parts, key=lambda name: -parts[name])[:LARGEST]

    return {
      "extra": extra,
      "python": python,
      "packages": len(list(packages.glob("*.dist-info"))),
      "mib": round(sum(parts.values()) / MIB),
      "largest_mib": {name: round(parts[name] / MIB) for name in largest},
    }


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("extras", nargs="*", default=EXTRAS)
  parser.add_argument("--python", default="3.11")
  arguments = parser.parse_args()

  lines = OUT.read_text().splitlines() if OUT.exists() else []
  rows = {(row["extra"], row["python"]): row for row in map(json.loads, lines)}

  for extra in arguments.extras:
    row = measure(extra, arguments.python)
    print(json.dumps(row), flush=True)
    rows[extra, arguments.python] = row
    files.write(OUT, "".join(json.dumps(row) + "\n" for row in rows.values()).encode())


if __name__ == "__main__":
  main()
