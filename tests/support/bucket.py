"""A Google Cloud Storage server on this machine, for tests: `with bucket.server() as address`.

It is gcp-storage-emulator with what TensorStore and we rely on in the real server, and what it
lacks: an upload on the condition of a generation (ifGenerationMatch) fails where the object has
another one, a download says its generation and is refused where it is the one that the client has
(ifGenerationNotMatch), and what is in the bucket "forbidden" is denied.
"""

import contextlib
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http import HTTPStatus

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUCKET = "lab"
_PATIENCE = 300.0  # seconds; for machines that are busy with other things


class Server:
  """A server that runs.

  Attributes:
    address: gs://lab, a bucket that exists.
    environment: Variables with which a process finds the server instead of Google's.
  """

  def __init__(self, port: int, cache: pathlib.Path):
    url = f"http://127.0.0.1:{port}"
    self.address = f"gs://{BUCKET}"
    self.environment = {
      "STORAGE_EMULATOR_HOST": url,
      "TENSORSTORE_GCS_HTTP_URL": url,
      # Nobody is asked who we are, nor over which layout the bucket has.
      "FSSPEC_GCS_TOKEN": "anon",
      "NO_GCE_CHECK": "true",
      "GCE_METADATA_ROOT": "127.0.0.1:1",
      "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT": "false",
      "GATO_CACHE_DIR": str(cache),
    }

  def path(self, name: str) -> str:
    return f"{self.address}/{name}"


@contextlib.contextmanager
def server() -> Iterator[Server]:
  """Runs a server with an empty bucket."""
  with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]

  with tempfile.TemporaryDirectory(prefix="gato_bucket_") as folder:
    process = subprocess.Popen(
      [sys.executable, "-m", "tests.support.bucket", str(port)],
      cwd=ROOT,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
    )
    try:
      _wait(process, port)
      yield Server(port, pathlib.Path(folder))
    finally:
      process.kill()
      process.wait()


def _wait(process: subprocess.Popen, port: int) -> None:
  until = time.monotonic() + _PATIENCE
  while True:
    try:
      urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
      return
    except (urllib.error.URLError, ConnectionError, TimeoutError):
      assert process.poll() is None and time.monotonic() < until, "no server"
      time.sleep(0.1)


def variables(environment: Mapping[str, str]) -> dict[str, str]:
  """Returns the environment of a process that uses the server."""
  return {**os.environ, **environment}


def main() -> None:
  from gcp_storage_emulator import server as emulator
  from gcp_storage_emulator.exceptions import NotFound

  def generation_of(storage, bucket, name):
    try:
      return storage.get_file_obj(bucket, name)["generation"]
    except NotFound:
      return "0"

  def with_refusals(handle):
    def handler(request, response, storage, *arguments, **named):
      bucket = request.params.get("bucket_name")
      if bucket == "forbidden":
        response.status = HTTPStatus.FORBIDDEN
        response.json({"error": {"code": 403, "message": "denied: storage.objects.list"}})
        return

      expected = request.query.get("ifGenerationMatch")
      if expected:
        name = request.query["name"][0] if "name" in request.query else request.data["meta"]["name"]
        if generation_of(storage, bucket, name) != expected[0]:
          response.status = HTTPStatus.PRECONDITION_FAILED
          response.json({"error": {"code": 412, "message": "conditionNotMet"}})
          return

      if request.query.get("alt") == ["media"]:
        generation = generation_of(storage, bucket, request.params["object_id"])
        if request.query.get("ifGenerationNotMatch") == [generation]:
          response.status = HTTPStatus.NOT_MODIFIED
          return
        response["x-goog-generation"] = generation

      handle(request, response, storage, *arguments, **named)

    return handler

  emulator.HANDLERS = tuple(
    (pattern, {method: with_refusals(handle) for method, handle in handlers.items()})
    for pattern, handlers in emulator.HANDLERS
  )
  emulator.create_server("127.0.0.1", int(sys.argv[1]), in_memory=True, default_bucket=BUCKET).run()


if __name__ == "__main__":
  main()
