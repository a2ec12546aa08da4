"""Forks commands from a process that has imported the large libraries: the server of commands.py.

python tests/support/command_server.py SOCKET

A request is a line of JSON, the answer the command's exit status as a line. The server ends with
its standard input; a command ends with the connection that asked for it.
"""

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import sys
from typing import Any, NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))


def serve(path: str) -> None:
  """Answers requests until standard input ends."""
  listener = socket.socket(socket.AF_UNIX)
  listener.bind(f"{path}.new")
  listener.listen()
  os.rename(f"{path}.new", path)  # it is there once it can be connected to

  # Who asks meanwhile waits, and is told at once if this fails.
  import libraries  # noqa: F401

  gc.freeze()  # the collector of a fork would copy every page
  signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # handlers leave no zombies

  while True:
    readable, _, _ = select.select([listener, sys.stdin], [], [])
    if sys.stdin in readable:
      return

    connection, _ = listener.accept()
    if os.fork():
      connection.close()
      continue

    listener.close()
    handle(connection)
    return


def handle(connection: socket.socket) -> None:
  """Runs one command, in a fork of this fork, and says how it ended."""
  signal.signal(signal.SIGCHLD, signal.SIG_DFL)
  with connection.makefile() as lines:
    request = json.loads(lines.readline())

  child = os.fork()
  if not child:
    connection.close()
    become(**request)
    return

  # Whoever asked gives up, or is killed: the command ends.
  ended = os.pidfd_open(child)
  readable, _, _ = select.select([connection, ended], [], [])
  if ended not in readable:
    os.kill(child, signal.SIGKILL)
  _, status = os.waitpid(child, 0)

  if ended in readable:
    connection.sendall(f"{os.waitstatus_to_exitcode(status)}\n".encode())
  os._exit(0)


def become(
  module: str, arguments: list[str], cwd: str, env: dict[str, str], outputs: list[str]
) -> NoReturn:
  """Becomes `python -m module arguments`."""
  with open(os.devnull) as nothing:
    os.dup2(nothing.fileno(), 0)
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
  sys.modules.pop("libraries", None)

  sys.argv = [module, *arguments]
  status: Any = 0
  try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
  except SystemExit as e:
    status = e.code
  except BaseException:  # as the interpreter does at its top
    sys.excepthook(*sys.exc_info())
    status = 1

  if isinstance(status, str):
    print(status, file=sys.stderr)
    status = 1

  # Ending as Python does would take seconds, since it takes every object of the libraries apart.
  atexit._run_exitfuncs()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(status or 0)


if __name__ == "__main__":
  serve(sys.argv[1])
