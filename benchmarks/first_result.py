"""Time to a first result, as a newcomer has it: a fresh clone, and a home without caches.

python benchmarks/first_result.py                 # all of it, some ten minutes
python benchmarks/first_result.py --cached        # packages come from this machine's caches

A row a milestone goes to results/first_result.jsonl: `make`, the first videos of the shipped network,
the whole page of `make play`, and a dummy network's collecting, building, training and evaluating.
System packages (Mesa and others) are this machine's.
"""

import argparse
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

from gato_jax.storage import files

ROOT = pathlib.Path(__file__).resolve().parents[1]
OUT = ROOT / "results" / "first_result.jsonl"

FIRST_VIDEOS = "the first videos are in"
VERBS = ("collect", "build", "train", "evaluate")


def run(command: list[str], cwd: pathlib.Path, home: pathlib.Path | None, until: str = "") -> dict:
  """Runs a command.

  Args:
    command: The command.
    cwd: Where it runs.
    home: The user's home directory; this user's by default.
    until: A text in its output whose time is noted.

  Returns:
    "seconds", and "until_seconds" where the text appeared.

  Raises:
    subprocess.CalledProcessError: The command failed.
  """
  environment = dict(os.environ)
  if home is not None:
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache")}

  began = time.monotonic()
  process = subprocess.Popen(
    command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
  )
  measured = {}
  output = bytearray()

  def read() -> None:
    assert process.stdout is not None
    while piece := process.stdout.read1():
      output.extend(piece)
      if until and until.encode() in output:
        measured.setdefault("until_seconds", round(time.monotonic() - began, 1))

  reader = threading.Thread(target=read)
  reader.start()
  status = process.wait()
  reader.join()

  if status:
    print(output.decode(errors="replace")[-2000:])
    raise subprocess.CalledProcessError(status, command)
  return {**measured, "seconds": round(time.monotonic() - began, 1)}


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--cached", action="store_true", help="use this user's caches of packages")
  arguments = parser.parse_args()

  revision = subprocess.run(
    ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
  ).stdout.strip()

  with tempfile.TemporaryDirectory(dir=ROOT.parent) as folder:
    clone, home = pathlib.Path(folder) / "gato_jax", pathlib.Path(folder) / "home"
    home.mkdir()
    subprocess.run(["git", "clone", "--quiet", ROOT, clone], check=True)

    rows = []

    def note(milestone: str, command: list[str], until: str = "") -> None:
      row = {"milestone": milestone, "command": " ".join(command)}
      row |= run(command, clone, None if arguments.cached else home, until=until)
      row |= {"cached": arguments.cached, "revision": revision, "cores": os.cpu_count()}
      rows.append(row)
      print(json.dumps(row), flush=True)

    note("set-up", ["make"])
    note("play", ["make", "play"], until=FIRST_VIDEOS)
    for verb in VERBS:
      note(verb, [".venv/bin/gato", verb, "--config=dummy"])

  before = OUT.read_text() if OUT.exists() else ""
  files.write(OUT, (before + "".join(json.dumps(row) + "\n" for row in rows)).encode())


if __name__ == "__main__":
  main()
