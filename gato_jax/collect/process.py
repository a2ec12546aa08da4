"""A collecting process: plays the shards that come through a pipe. No JAX, no TensorFlow.

python -m gato_jax.collect.process FD    started by gato_jax/collect/pool.py, which keeps the pipe's other end

To it go ("shard", arguments of collect_shard). From it come, for each of them, what collect_shard says and then
("finished", None), ("failed", why) or ("disk", why), where no other episode could be kept either.
"""

import sys
import traceback
from multiprocessing.connection import Connection

from gato_jax import disk, worker
from gato_jax.collect import shards
from gato_jax.errors import GatoError


def run(connection: Connection) -> None:
  """Collects until the other end is gone."""
  while True:
    try:
      _, arguments = worker.receive(connection)
    except EOFError:
      return
    try:
      shards.collect_shard(*arguments, say=lambda kind, number: worker.send(connection, kind, number))
    except (EOFError, BrokenPipeError, ConnectionResetError):
      return
    except Exception as e:  # whatever a simulator raises costs this episode only; the log has its traceback
      if full := disk.failure(e, forbidden=False):
        worker.send(connection, "disk", str(full))
        continue
      traceback.print_exc()
      text = str(e) if isinstance(e, GatoError) else f"{type(e).__name__}: {e}"
      worker.send(connection, "failed", " ".join(text.split()))
    else:
      worker.send(connection, "finished", None)


def main(descriptor: int) -> None:
  with worker.connect(descriptor) as connection:
    run(connection)


if __name__ == "__main__":
  main(int(sys.argv[1]))
