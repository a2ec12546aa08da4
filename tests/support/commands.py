"""Runs modules as commands, `python -m MODULE`, without importing the large libraries each time.

A server process imports the libraries once (libraries.py) and nothing of ours; every command is a
fork of it. It has its own arguments, directory, environment, output and exit status, as any process
has. Tests of start-up messages, of signals and of killed processes start Python themselves.
"""

import multiprocessing
import os
import pathlib
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping

ROOT = pathlib.Path(__file__).resolve().parents[2]

_context = multiprocessing.get_context("forkserver")


def run(
  module: str,
  *arguments: str,
  cwd: pathlib.Path = ROOT,
  env: Mapping[str, str] | None = None,
  timeout: float = 1800,
) -> subprocess.CompletedProcess:
  """Runs `python -m module arguments`.

  Args:
    module: Its name, below `cwd`.
    *arguments: The command line's.
    cwd: Working directory, where modules are looked for first.
    env: The whole environment; this process's own by default.
    timeout: Seconds after which the command is killed.

  Raises:
    subprocess.TimeoutExpired: The command took longer.
  """
  # The server starts with the first command and ends with this process.
  _context.set_forkserver_preload(["tests.support.libraries"])

  with tempfile.TemporaryDirectory() as folder:
    outputs = [pathlib.Path(folder) / name for name in ("stdout", "stderr")]
    process = _context.Process(
      target=_command,
      args=(module, arguments, str(cwd), dict(os.environ if env is None else env), outputs),
    )
    process.start()
    process.join(timeout)

    if process.is_alive():
      process.kill()
      process.join()
      raise subprocess.TimeoutExpired([module, *arguments], timeout)

    stdout, stderr = (path.read_text(errors="replace") for path in outputs)
    return subprocess.CompletedProcess([module, *arguments], process.exitcode, stdout, stderr)


def _command(
  module: str,
  arguments: tuple[str, ...],
  cwd: str,
  env: dict[str, str],
  outputs: list[pathlib.Path],
) -> None:
  """Becomes the command, in the fork."""
  for descriptor, path in enumerate(outputs, 1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), descriptor)

  os.environ.clear()
  os.environ.update(env)
  os.chdir(cwd)

  # As `python -m` does: the directory comes first, then PYTHONPATH, and nothing of the test's own.
  search = [cwd, *filter(None, env.get("PYTHONPATH", "").split(os.pathsep))]
  sys.path[:] = search + [
    path for path in sys.path if "site-packages" in path or "lib/python" in path
  ]
  for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
    del sys.modules[name]

  sys.argv = [module, *arguments]
  runpy.run_module(module, run_name="__main__", alter_sys=True)
