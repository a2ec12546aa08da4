"""A collecting process: plays the shards that come through a pipe. No JAX, no TensorFlow.

python -m gato_jax.env.collect.process FD

gato_jax/env/collect/collection.py starts it and holds the other end of the pipe.

It receives
  ("shard", arguments of collect_shard)
  ("probe", arguments of probe)

For each of them it sends what collect_shard reports, ("began", seed) and ("kept", episodes), and
then one of
  ("finished", None)
  ("changed", reason)   the logs are of another origin
  ("invalid", reason)   the episode would fail again
  ("refused", reason)   the whole task would
  ("disk", reason)      no other episode could be kept either
  ("failed", reason)    another attempt may end better
"""

import sys
import traceback
from multiprocessing.connection import Connection

from gato_jax.env import worker
from gato_jax.env.collect import shards
from gato_jax.errors import GatoError
from gato_jax.storage import disk, origin


def run(connection: Connection) -> None:
  """Collects until the other end is gone."""

  def report(kind: str, number: int) -> None:
    worker.send(connection, kind, number)

  while True:
    try:
      kind, arguments = worker.receive(connection)
    except EOFError:
      return

    try:
      if kind == "probe":
        shards.probe(*arguments)
      else:
        domain, task, raw, index, seeds, settings = arguments
        shards.collect_shard(
          domain, task, raw=raw, index=index, seeds=seeds, settings=settings, report=report
        )
    except (EOFError, BrokenPipeError, ConnectionResetError):
      return
    # Whatever a simulator raises costs this episode only; the log has its traceback.
    except Exception as e:
      worker.send(connection, *_error_message(e))
    else:
      worker.send(connection, "finished", None)


def _error_message(error: Exception) -> tuple[str, str]:
  """Returns the message that reports an error: its kind, and a line for the user."""
  if full := disk.failure(error, forbidden=False):
    return "disk", str(full)

  # The subclasses of GatoError come first.
  kinds = {origin.OriginChanged: "changed", shards.SpecRefused: "refused", GatoError: "invalid"}
  for error_type, kind in kinds.items():
    if isinstance(error, error_type):
      return kind, str(error)

  traceback.print_exception(error)
  return "failed", " ".join(f"{type(error).__name__}: {error}".split())


def main(descriptor: int) -> None:
  with worker.connect(descriptor) as connection:
    run(connection)


if __name__ == "__main__":
  main(int(sys.argv[1]))
