"""Runs every test file in a process of its own: simulators and TensorFlow crash in a shared one.

python tests/run.py --jobs=2 [pytest options] [test files or directories]
"""

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTHING_SELECTED = 5  # pytest's exit status when -k or -m leaves no test of a file


def run_file(target: str, options: list[str]) -> tuple[str, int, str, float]:
  """Runs a test file in a process of its own.

  Returns:
    The target, pytest's exit status, its output, and the seconds that it took. A negative status is
    the signal that ended the process.
  """
  began = time.monotonic()
  command = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "--durations=3",
    "--durations-min=5",
    target,
    *options,
  ]
  done = subprocess.run(
    command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
  )
  return target, done.returncode, done.stdout, time.monotonic() - began


def summary(output: str) -> str:
  """Returns pytest's last line, "3 passed in 0.1s"; C extensions may print warnings after it."""
  lines = [line for line in output.splitlines() if re.search(r"\bin [\d.]+s\b", line)]
  return lines[-1] if lines else "no summary: pytest did not end by itself"


def expand(name: str) -> list[str]:
  """Returns the test files in a directory, or a file or a test as it is."""
  if not (ROOT / name).is_dir():
    return [name]

  return sorted(str(path.relative_to(ROOT)) for path in (ROOT / name).rglob("test_*.py"))


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--jobs", type=int, default=2, help="files tested side by side")
  arguments, rest = parser.parse_known_args()
  named = [a for a in rest if a.split("::")[0].endswith(".py") or (ROOT / a).is_dir()]
  options = [a for a in rest if a not in named]

  # A directory stands for the test files in it.
  targets = [target for name in named or ["tests"] for target in expand(name)]
  if not targets:
    print("tests/run.py: no tests/test_*.py found", file=sys.stderr)
    return NOTHING_SELECTED

  began = time.monotonic()
  statuses, counts = {}, dict.fromkeys(("passed", "failed", "error"), 0)

  with (
    tempfile.TemporaryDirectory() as compiled,
    concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool,
  ):
    # Tests that train start many processes with the same programs: each is compiled once a run.
    # The programs are small, so compiling takes longer than what optimizations would save.
    os.environ |= {
      "JAX_COMPILATION_CACHE_DIR": compiled,
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    futures = [pool.submit(run_file, target, options) for target in targets]

    for future in concurrent.futures.as_completed(futures):
      target, status, output, seconds = future.result()
      statuses[target] = status
      for count, outcome in re.findall(r"(\d+) (passed|failed|error)", summary(output)):
        counts[outcome] += int(count)
      print(
        f"[{len(statuses)}/{len(targets)}] {target} ({seconds:.0f} s): {summary(output)}",
        flush=True,
      )
      if status not in (0, NOTHING_SELECTED):
        print(output, flush=True)

  failed = {t: s for t, s in statuses.items() if s not in (0, NOTHING_SELECTED)}

  for target, status in sorted(failed.items()):
    print(
      f"FAILED {target}: "
      + (f"ended by signal {-status}" if status < 0 else f"pytest's exit status {status}")
    )

  print(f"tests: {counts['passed']} passed, {counts['failed'] + counts['error']} failed")
  print(
    f"{len(statuses) - len(failed)} of {len(statuses)} files passed in {time.monotonic() - began:.0f} s"
  )
  if failed:
    return 1
  if all(status == NOTHING_SELECTED for status in statuses.values()):
    print(f"no test was selected by {' '.join(options)}", file=sys.stderr)
    return NOTHING_SELECTED

  return 0


if __name__ == "__main__":
  sys.exit(main())
