"""Runs the test files of a directory in one process, so that imports and fixtures are shared.

Simulators and TensorFlow crash in a shared process: the files of the directory `ALONE`, not those
further below, have processes of their own, and so has a file that marks its tests
`pytest.mark.alone` and says why.

python tests/run.py --jobs=2 [pytest options] [test files or directories]
"""

import argparse
import collections
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests/support"))

import commands  # noqa: E402

ALONE = "tests/rlds_builders"
_MARK = "pytest.mark.alone"
NOTHING_SELECTED = 5  # pytest's exit status when -k or -m leaves no test of a file


def run_together(targets: list[str], options: list[str]) -> tuple[list[str], int, str, float]:
  """Runs test files in one process.

  Returns:
    The targets, pytest's exit status, its output, and the seconds that it took. A negative status
    is the signal that ended the process.
  """
  began = time.monotonic()
  command = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "--durations=5",
    "--durations-min=3",
    *targets,
    *options,
  ]
  done = subprocess.run(
    command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
  )
  return targets, done.returncode, done.stdout, time.monotonic() - began


def summary(output: str) -> str:
  """Returns pytest's last line, "3 passed in 0.1s"; C extensions may print warnings after it."""
  lines = [line for line in output.splitlines() if re.search(r"\bin [\d.]+s\b", line)]
  return lines[-1] if lines else "no summary: pytest did not end by itself"


def expand(name: str) -> list[str]:
  """Returns the test files in a directory, or a file or a test as it is."""
  if not (ROOT / name).is_dir():
    return [name]

  return sorted(str(path.relative_to(ROOT)) for path in (ROOT / name).rglob("test_*.py"))


def processes(targets: list[str]) -> list[list[str]]:
  """Returns the targets of each process, those of large directories first."""
  together: dict[str, list[str]] = collections.defaultdict(list)

  for target in targets:
    path, _, test = target.partition("::")
    file = ROOT / path
    directory = str(pathlib.Path(path).parent)
    is_alone = directory == ALONE or not file.exists() or _MARK in file.read_text()
    together[target if test or is_alone else directory].append(target)

  return sorted(together.values(), key=len, reverse=True)


def title(targets: list[str]) -> str:
  """Returns the name of a process: its file, or the directory and the number of files."""
  if len(targets) == 1:
    return targets[0]
  return f"{pathlib.Path(targets[0]).parent}, {len(targets)} files"


def main() -> int:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
  arguments, rest = parser.parse_known_args()
  named = [a for a in rest if a.split("::")[0].endswith(".py") or (ROOT / a).is_dir()]
  options = [a for a in rest if a not in named]

  # A directory stands for the test files in it.
  targets = [target for name in named or ["tests"] for target in expand(name)]
  if not targets:
    print("tests/run.py: no tests/test_*.py found", file=sys.stderr)
    return NOTHING_SELECTED

  began = time.monotonic()
  # Compiling our modules in each of hundreds of processes would take minutes.
  os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
  statuses, counts = {}, dict.fromkeys(("passed", "failed", "error"), 0)

  with (
    tempfile.TemporaryDirectory() as compiled,
    commands.server() as server,
    concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool,
  ):
    # Tests that train start many processes with the same programs: each is compiled once a run.
    # The programs are small, so compiling takes longer than what optimizations would save. XLA's
    # fusion emitters alone take a third of it; without them a few kernels are slower.
    os.environ |= {
      "JAX_COMPILATION_CACHE_DIR": compiled,
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.1",
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
      "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false",
      # Threads of small products wait for each other actively, and take the other job's core.
      "OPENBLAS_NUM_THREADS": "1",
      "OMP_NUM_THREADS": "1",
      commands.SERVER: server,
    }
    planned = processes(targets)
    futures = [pool.submit(run_together, together, options) for together in planned]

    for future in concurrent.futures.as_completed(futures):
      together, status, output, seconds = future.result()
      statuses[title(together)] = status
      for count, outcome in re.findall(r"(\d+) (passed|failed|error)", summary(output)):
        counts[outcome] += int(count)

      print(
        f"[{len(statuses)}/{len(planned)}] {title(together)} ({seconds:.0f} s): {summary(output)}",
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
    f"{len(statuses) - len(failed)} of {len(statuses)} processes passed in "
    f"{time.monotonic() - began:.0f} s"
  )
  if failed:
    return 1
  if all(status == NOTHING_SELECTED for status in statuses.values()):
    print(f"no test was selected by {' '.join(options)}", file=sys.stderr)
    return NOTHING_SELECTED

  return 0


if __name__ == "__main__":
  sys.exit(main())
