"""Writes the page of some tasks, and serves it on this machine."""

import functools
import http.server
import pathlib
from typing import Any

from experiments.analysis.report import html
from gato_jax.errors import GatoError


def write(path: pathlib.Path, name: str, tasks: list[dict[str, Any]]) -> pathlib.Path:
  """Writes the page.

  Args:
    path: The HTML file.
    name: Name of the experiment, for the title.
    tasks: Of each task, its content (content.task_content).
  """
  html.write(
    path,
    "view.html",
    {},
    title=f"Datasets of {name}",
    tasks=tasks,
    note="Images are shown as the network sees them, at some of the steps of long episodes.",
    content=html.embedded_json(tasks),
  )
  return path


def serve(folder: pathlib.Path, port: int) -> None:
  """Serves a folder on this machine until Ctrl-C.

  Raises:
    GatoError: The port is taken.
  """
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
  try:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
  except OSError as e:
    raise GatoError(f"--port={port}: {e.strerror}; choose another one, or 0 for any") from e

  with server:
    print(f"view: http://127.0.0.1:{server.server_port}/, until Ctrl-C", flush=True)
    server.serve_forever()
