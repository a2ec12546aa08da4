"""Milliseconds of a step between client and server when nothing is computed: gRPC and websockets.

python -m benchmarks.serve_transport --out=results/serve_transport.jsonl

Server and client are processes of their own, on loopback. The server decodes each observation and
answers with an action of six floats; messages are encoded by gato_jax/serve/protocol.py everywhere,
so that only the transport differs. A step is timed at the client, encoding and decoding included.
Transports take turns, so that a noisy moment hits all of them.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import pathlib
import queue
import time
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import uvloop
import websockets.asyncio.server
import websockets.sync.client

from gato_jax.serve import protocol

OBSERVATIONS = {
  "17 floats": {"state": np.linspace(-1, 1, 17, dtype=np.float32)},
  "frame 64x80x3": {
    "pixels": np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype(np.uint8)
  },
}
ACTION = np.zeros(6, np.float32)
METHOD = "/gato/Act"


def answer(message: bytes) -> bytes:
  """Returns the reply to one step: an action without any computation."""
  ((session, _),) = protocol.take_steps(protocol.decode(message)).items()
  return protocol.encode({"type": "actions", "actions": [[session, ACTION]]})


async def serve_websockets(port: Any) -> None:
  async def echo(connection):
    async for message in connection:
      await connection.send(answer(message))

  server = await websockets.asyncio.server.serve(echo, "127.0.0.1", 0, compression=None)
  port.put(server.sockets[0].getsockname()[1])
  await server.serve_forever()


async def serve_grpc(port: Any) -> None:
  async def echo(requests, context):
    async for message in requests:
      yield answer(message)

  server = grpc.aio.server()
  handler = grpc.stream_stream_rpc_method_handler(echo)
  server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("gato", {"Act": handler})])
  port.put(server.add_insecure_port("127.0.0.1:0"))
  await server.start()
  await server.wait_for_termination()


def run_server(serve: Callable, loop: str, port: Any) -> None:
  """Serves in a process of its own; the queue `port` gets the port."""
  (uvloop.run if loop == "uvloop" else asyncio.run)(serve(port))


def websockets_client(port: int) -> Callable[[bytes], bytes]:
  connection = websockets.sync.client.connect(
    f"ws://127.0.0.1:{port}", compression=None, proxy=None, legacy=True
  )

  def call(message: bytes) -> bytes:
    connection.send(message)
    return connection.recv()

  return call


def grpc_client(port: int) -> Callable[[bytes], bytes]:
  # The request stream of the one call reads the queue as long as the client lives.
  requests: queue.SimpleQueue = queue.SimpleQueue()
  replies = grpc.insecure_channel(f"127.0.0.1:{port}").stream_stream(METHOD)(
    iter(requests.get, None)
  )

  def call(message: bytes) -> bytes:
    requests.put(message)
    return next(replies)

  return call


TRANSPORTS = {
  "websockets": (serve_websockets, "asyncio", websockets_client),
  "websockets, uvloop": (serve_websockets, "uvloop", websockets_client),
  "grpc.aio": (serve_grpc, "asyncio", grpc_client),
}


def time_steps(
  call: Callable[[bytes], bytes], observation: dict[str, np.ndarray], steps: int
) -> list[float]:
  """Returns the seconds of each step, encoding and decoding included."""
  seconds = []
  for _ in range(steps):
    began = time.perf_counter()
    reply = protocol.decode(call(protocol.encode({"type": "act", "steps": [[1, observation]]})))
    seconds.append(time.perf_counter() - began)
    assert reply["actions"][0][1].shape == ACTION.shape

  return seconds


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument(
    "--steps", type=int, default=2000, help="a round, after a tenth as many that do not count"
  )
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--out", type=pathlib.Path)
  arguments = parser.parse_args()

  spawn = multiprocessing.get_context("spawn")
  seconds: dict[tuple[str, str], list[float]] = {}
  servers, calls = [], {}
  for name, (serve, loop, client) in TRANSPORTS.items():
    port = spawn.Queue()
    servers.append(spawn.Process(target=run_server, args=(serve, loop, port), daemon=True))
    servers[-1].start()
    calls[name] = client(port.get(timeout=60))

  # In turn, so that a noisy moment hits all transports. The first steps of a round do not count.
  load = os.getloadavg()[0]
  for _ in range(arguments.rounds):
    for what, observation in OBSERVATIONS.items():
      for name, call in calls.items():
        time_steps(call, observation, arguments.steps // 10)
        seconds.setdefault((name, what), []).extend(time_steps(call, observation, arguments.steps))

  for (name, what), values in seconds.items():
    p50, p90, p99 = np.percentile(values, [50, 90, 99]) * 1e3
    row = {
      "transport": name,
      "observation": what,
      "steps": len(values),
      "p50_ms": p50,
      "p90_ms": p90,
      "p99_ms": p99,
    }
    row |= {"load_at_start": load, "cores": os.cpu_count()}
    print(f"{name:20} {what:14} p50 {p50:.3f} ms  p90 {p90:.3f} ms  p99 {p99:.3f} ms")
    if arguments.out:
      with arguments.out.open("a") as f:
        f.write(json.dumps(row) + "\n")

  for server in servers:
    server.terminate()
    server.join()


if __name__ == "__main__":
  main()
