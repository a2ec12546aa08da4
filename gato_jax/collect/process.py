"""A collecting process: plays the shards that come through a pipe. No JAX, no TensorFlow.

python -m gato_jax.collect.process FD    started by gato_jax/collect/pool.py, which keeps the pipe's other end

To it go ("shard", arguments of collect_shard) and ("probe", arguments of probe). From it come, for each of them, what
collect_shard says and then ("finished", None), ("changed", what) where the logs are of another origin, ("invalid", why)
where an episode would fail again, ("refused", why) where the whole task would, ("disk", why) where no other episode
could be kept either, or ("failed", why).
"""

import sys
import traceback
from multiprocessing.connection import Connection

from gato_jax import disk, origin, worker
from gato_jax.collect import shards
from gato_jax.errors import GatoError


def run(connection: Connection) -> None:
  """Collects until the other end is gone."""
  while True:
    try:
      kind, arguments = worker.receive(connection)
    except EOFError:
      return
    try:
      if kind == "probe":
        shards.probe(*arguments)
      else:
        shards.collect_shard(*arguments, say=lambda kind, number: worker.send(connection, kind, number))
    except (EOFError, BrokenPipeError, ConnectionResetError):
      return
    except Exception as e:  # whatever a simulator raises costs this episode only; the log has its traceback
      worker.send(connection, *_said(e))
    else:
      worker.send(connection, "finished", None)


def _said(error: Exception) -> tuple[str, str]:
  """Returns the message that tells the other end of an error: its kind, and a line."""
  if full := disk.failure(error, forbidden=False):
    return "disk", str(full)
  kinds = {origin.Changed: "changed", shards.Refused: "refused", GatoError: "invalid"}
  for kind, name in kinds.items():
    if isinstance(error, kind):
      return name, str(error)

  traceback.print_exception(error)
  return "failed", " ".join(f"{type(error).__name__}: {error}".split())


def main(descriptor: int) -> None:
  with worker.connect(descriptor) as connection:
    run(connection)


if __name__ == "__main__":
  main(int(sys.argv[1]))
