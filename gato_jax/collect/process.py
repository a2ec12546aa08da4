"""A collecting process: plays the shards that come through a pipe. No JAX, no TensorFlow.

python -m gato_jax.collect.process FD    started by gato_jax/collect/pool.py, which keeps the pipe's other end

To it go ("shard", arguments of collect_shard) and ("probe", arguments of probe). From it come, for each of them, what
collect_shard says and then ("finished", None), ("changed", what) where the logs are of another origin, ("invalid", why)
where an episode would fail again, ("refused", why) where the whole task would, or ("failed", why).
"""

import sys
import traceback
from multiprocessing.connection import Connection

from gato_jax import origin, worker
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
    except origin.Changed as e:
      worker.send(connection, "changed", str(e))
    except shards.Refused as e:
      worker.send(connection, "refused", str(e))
    except GatoError as e:
      worker.send(connection, "invalid", str(e))
    except Exception as e:  # whatever a simulator raises costs this episode only; the log has its traceback
      traceback.print_exc()
      worker.send(connection, "failed", " ".join(f"{type(e).__name__}: {e}".split()))
    else:
      worker.send(connection, "finished", None)


def main(descriptor: int) -> None:
  with worker.connect(descriptor) as connection:
    run(connection)


if __name__ == "__main__":
  main(int(sys.argv[1]))
