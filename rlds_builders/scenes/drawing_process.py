"""Runs a generator in a process of its own and yields what it yields.

TensorFlow and rendering never share a process, and the process that builds datasets has TensorFlow.
Run as a module this is the other process: it pickles the items of a generator one by one, and None
at the end.
"""

import importlib
import json
import os
import pathlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from gato_jax.errors import GatoError

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def drawn(function: str, *arguments: Any) -> Iterator[Any]:
  """Yields the items of a generator that runs in another process.

  Closing the iterator ends that process. The pipe between the processes holds a few images: the
  producer blocks until the consumer reads.

  Args:
    function: "module:function" of the generator.
    *arguments: Its arguments, which must be JSON serializable.

  Raises:
    GatoError: The process ended too early; the message has its last line of output.
  """
  path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
  command = [sys.executable, "-m", __name__, function, json.dumps(arguments)]

  with tempfile.TemporaryFile() as errors:
    process = subprocess.Popen(
      command,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.PIPE,
      stderr=errors,
      env={**os.environ, "PYTHONPATH": path},
    )
    assert process.stdout is not None
    try:
      while (item := pickle.load(process.stdout)) is not None:
        yield item
      return
    except (EOFError, pickle.UnpicklingError):
      # The pipe ended, or broke off within an image. A producer that is still alive is blocked
      # by the full pipe and would never end, so the pipe is closed before waiting.
      process.stdout.close()
      process.wait()
    finally:
      process.stdout.close()
      process.kill()
      process.wait()

    errors.seek(0)
    output = errors.read().decode(errors="replace").strip().splitlines()
    last_line = output[-1] if output else "without a word"
    raise GatoError(
      f"{function}: the process that draws ended with status {process.returncode}: {last_line}"
    )


def main(function: str, arguments: str) -> None:
  """Writes the pickled items of a generator to stdout.

  Args:
    function: "module:function" of the generator.
    arguments: JSON list of its arguments.
  """
  # Simulators print, some from C. Items go to a copy of stdout, and prints to stderr.
  pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

  module, name = function.split(":")
  try:
    generator = getattr(importlib.import_module(module), name)
    for item in generator(*json.loads(arguments)):
      pickle.dump(item, pipe)
      pipe.flush()
  except GatoError as e:
    sys.exit(str(e))

  pickle.dump(None, pipe)
  pipe.close()


if __name__ == "__main__":
  main(*sys.argv[1:])
