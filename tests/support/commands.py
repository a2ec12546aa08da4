"""Runs modules as commands, `python -m MODULE`, without importing the large libraries each time.

A server process (command_server.py) imports the libraries once and nothing of ours; every command
is a fork of it. It has its own arguments, directory, environment, output and exit status, as any
process has. Tests of start-up messages, of signals and of killed processes start Python themselves.
"""

import atexit
import contextlib
import json
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping

ROOT = pathlib.Path(__file__).resolve().parents[2]

# The server of all processes of tests/run.py. Without it, the first command starts one.
SERVER = "GATO_TEST_COMMANDS"


@contextlib.contextmanager
def server() -> Iterator[str]:
  """Context of a server; gives the path of its socket."""
  with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/commands"
    command = [sys.executable, str(pathlib.Path(__file__).with_name("command_server.py")), path]
    process = subprocess.Popen(
      command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
      yield path
    finally:
      process.kill()
      process.wait()


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
    TimeoutError: The command took longer.
  """
  with tempfile.TemporaryDirectory() as folder:
    outputs = [pathlib.Path(folder) / name for name in ("stdout", "stderr")]
    for path in outputs:
      path.touch()
    request = {
      "module": module,
      "arguments": arguments,
      "cwd": str(cwd),
      "env": dict(os.environ if env is None else env),
      "outputs": list(map(str, outputs)),
    }

    with _connected() as connection:
      connection.settimeout(timeout)
      connection.sendall(json.dumps(request).encode() + b"\n")
      answer = connection.makefile().readline()
      assert answer, "tests/support/command_server.py has ended"

    stdout, stderr = (path.read_text(errors="replace") for path in outputs)
    return subprocess.CompletedProcess([module, *arguments], int(answer), stdout, stderr)


def _connected() -> socket.socket:
  """Returns a connection to the server."""
  if SERVER not in os.environ:
    stack = contextlib.ExitStack()
    os.environ[SERVER] = stack.enter_context(server())
    atexit.register(stack.close)

  until = time.monotonic() + 60
  while not os.path.exists(os.environ[SERVER]) and time.monotonic() < until:
    time.sleep(0.05)

  connection = socket.socket(socket.AF_UNIX)
  connection.connect(os.environ[SERVER])
  return connection
