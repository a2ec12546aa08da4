"""Pictures that a process of their own draws: TensorFlow and rendering never share one, and who builds has TensorFlow.

Run as a module this is that process: it pickles what a function yields, one by one, and None at the end.
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

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def drawn(function: str, *arguments: Any) -> Iterator[Any]:
  """What "module:function"(*arguments) yields in another process; closing the iterator ends that process.

  Nothing is kept: the pipe between the processes holds a few pictures, and who draws waits for who reads.

  Raises:
    GatoError: the process ended before it was through; its last words are in the message.
  """
  path = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH", "")]))
  command = [sys.executable, "-m", __name__, function, json.dumps(arguments)]
  with tempfile.TemporaryFile() as errors:
    process = subprocess.Popen(
      command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env={**os.environ, "PYTHONPATH": path}
    )
    try:
      while (item := pickle.load(process.stdout)) is not None:
        yield item
      return
    except (EOFError, pickle.UnpicklingError):  # nothing more, or half a picture
      process.stdout.close()  # else who still draws would wait for who reads
      process.wait()
    finally:
      process.stdout.close()
      process.kill()
      process.wait()
    errors.seek(0)
    words = errors.read().decode(errors="replace").strip().splitlines() or ["without a word"]
    raise GatoError(f"{function}: the process that draws ended with status {process.returncode}: {words[-1]}")


def main(function: str, arguments: str) -> None:
  pipe = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
  os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # simulators print, some from C
  module, name = function.split(":")
  try:
    for item in getattr(importlib.import_module(module), name)(*json.loads(arguments)):
      pickle.dump(item, pipe)
      pipe.flush()
  except GatoError as e:
    sys.exit(str(e))
  pickle.dump(None, pipe)
  pipe.close()


if __name__ == "__main__":
  main(*sys.argv[1:])
