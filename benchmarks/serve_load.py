"""Many clients against one server: steps/s, latency, batch sizes, memory, file descriptors.

As fast as they go:
  python -m benchmarks.serve_load --workdir=work/demo --out=results/serve_load.jsonl
At a robot's pace:
  python -m benchmarks.serve_load --workdir=work/demo --hz=20 --clients=16 --seconds=60

Starts `experiments.serve` on a free port. Clients take the server's tasks in turn and send the
observations of the workdir's demonstrations, episode after episode, as threads of a few processes:
one process's lock would be the bottleneck, 64 of them would not fit on a small machine. Clients and
server share this machine's cores, so a step costs more here than where the clients are elsewhere. A
step is timed at the client, from observation to action.
"""

import argparse
import itertools
import json
import multiprocessing
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
import urllib.request
from typing import Any

import dm_env
import numpy as np

from gato_jax.data import demonstrations
from gato_jax.serve import client

EPISODE_STEPS = 100  # at most; demonstrations may be shorter


def play(
  url: str, workdir: str, task: str, number: int, steps: int, seconds: float, hz: float
) -> list[float]:
  """Plays one client and returns the seconds of each step.

  It takes `steps` of them, or as many as `seconds` allow; paced if hz is not 0.
  """
  examples = demonstrations.read(pathlib.Path(workdir), task)
  taken: list[float] = []
  ends = time.monotonic() + seconds
  with client.RemoteActor(url, task, timeout=60.0) as actor:
    # Clients at a pace start one after the other, as robots do not act in step.
    due = time.monotonic() + (number / 64 / hz if hz else 0.0)
    for episode in itertools.count():
      observation, action = examples[(number + episode) % len(examples)]
      actor.reset(0, 1000 * number + episode)
      for t in range(min(EPISODE_STEPS, len(action))):
        timestep = dm_env.restart({key: column[t] for key, column in observation.items()})
        # A client that is late by more than a step does not catch up.
        if hz:
          time.sleep(max(0.0, due - time.monotonic()))
          due = max(due, time.monotonic() - 1 / hz) + 1 / hz

        began = time.perf_counter()
        actor.act({0: timestep})
        taken.append(time.perf_counter() - began)
        if len(taken) >= steps or time.monotonic() > ends:
          return taken

  raise AssertionError


def run_clients(jobs: list[tuple], results: Any) -> None:
  """Runs a thread for each client, which puts its step times, or the error that ended it."""

  def run_client(job: tuple) -> None:
    try:
      results.put(np.float32(play(*job)))
    except Exception as e:
      results.put(f"client {job[3]}: {e!r}")

  threads = [threading.Thread(target=run_client, args=(job,)) for job in jobs]
  for thread in threads:
    thread.start()

  for thread in threads:
    thread.join()


def start_server(arguments: argparse.Namespace) -> tuple[subprocess.Popen, str]:
  """Starts experiments.serve and returns it with its address, once it is ready."""
  command = [sys.executable, "-m", "experiments.serve", f"--config={arguments.config}", "--port=0"]
  command += [
    f"--config.workdir={arguments.workdir}",
    f"--config.serve.sessions={arguments.clients}",
  ]
  server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
  url = ""
  for line in server.stdout:
    print(line, end="")
    found = re.search(r"listening on (ws://\S+);", line)
    url = found[1] if found else url
    if line == "serve: ready\n":
      # A pipe that nobody reads would fill up and block the server.
      threading.Thread(
        target=lambda: [print(line, end="") for line in server.stdout], daemon=True
      ).start()
      return server, url

  raise SystemExit("the server did not start")


def metrics(url: str) -> dict[str, float]:
  """Returns sample -> value, labels included in the name."""
  text = (
    urllib.request.urlopen(url.replace("ws", "http", 1) + "/metrics", timeout=60).read().decode()
  )
  return {
    k: float(v)
    for k, v in (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
  }


def process_state(values: dict[str, float]) -> dict[str, float]:
  """Returns the columns that show a leak."""
  rss = values["process_resident_memory_bytes"] / 2**20
  return {
    "rss_mb": round(rss, 1),
    "open_fds": values["process_open_fds"],
    "sessions": values["gato_serve_sessions"],
  }


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--workdir", default="work/demo")
  parser.add_argument("--config", default="experiments/configs/demo.py")
  parser.add_argument("--clients", type=int, default=64)
  parser.add_argument("--processes", type=int, default=4, help="of clients")
  parser.add_argument("--steps", type=int, default=72_000, help="of all clients: an hour at 20 Hz")
  parser.add_argument("--seconds", type=float, default=600.0, help="at most")
  parser.add_argument(
    "--hz", type=float, default=0.0, help="steps a second of each client; 0: as fast as they go"
  )
  parser.add_argument("--out", type=pathlib.Path)
  arguments = parser.parse_args()

  load = os.getloadavg()[0]
  server, url = start_server(arguments)
  probe = client.ClientConnection(url)
  tasks = probe.tasks
  probe.close()

  # Rounded up.
  each = -(-arguments.steps // arguments.clients)
  jobs = [
    (url, arguments.workdir, tasks[i % len(tasks)], i, each, arguments.seconds, arguments.hz)
    for i in range(arguments.clients)
  ]

  spawn = multiprocessing.get_context("spawn")
  results = spawn.Queue()
  states = [process_state(metrics(url))]
  began = time.perf_counter()
  processes = [
    spawn.Process(target=run_clients, args=(jobs[i :: arguments.processes], results))
    for i in range(arguments.processes)
  ]
  for process in processes:
    process.start()

  # The server is looked at after 10 %, 30 %, ... of the steps or of the time.
  taken, share = [], 0.1
  while len(taken) < arguments.clients:
    if not results.empty():
      taken.append(results.get())
      continue

    time.sleep(0.2)
    done = metrics(url)["gato_serve_step_seconds_count"]
    if done >= share * arguments.steps or time.perf_counter() - began > share * arguments.seconds:
      states.append({"steps": done, **process_state(metrics(url))})
      share += 0.2
  wall = time.perf_counter() - began
  for process in processes:
    process.join()

  # The server has not yet seen that the last clients left.
  time.sleep(1.0)
  values = metrics(url)
  states.append({"steps": values["gato_serve_step_seconds_count"], **process_state(values)})
  server.terminate()
  status = server.wait(60)

  errors = [result for result in taken if isinstance(result, str)]
  steps = np.concatenate([result for result in taken if not isinstance(result, str)])
  busy = values["gato_serve_batch_seconds_sum"]
  sizes = {
    k.split('"')[1]: v for k, v in values.items() if k.startswith("gato_serve_batch_size_bucket")
  }

  names = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
  row = {
    "clients": arguments.clients,
    "client_processes": arguments.processes,
    "tasks": len(tasks),
    "hz": arguments.hz,
    "steps": len(steps),
    "seconds": round(wall, 1),
    "steps_per_second": round(len(steps) / wall, 1),
    **{
      k: round(float(v) * 1e3, 3)
      for k, v in zip(names, np.percentile(steps, [50, 90, 99, 100]), strict=True)
    },
    "within_50_ms": round(float(np.mean(steps <= 0.05)), 5),
    "mean_batch": round(
      values["gato_serve_batch_size_sum"] / values["gato_serve_batch_size_count"], 2
    ),
    "batches_up_to": sizes,
    "engine_busy": round(busy / wall, 3),
    "engine_ms_a_batch": round(1e3 * busy / values["gato_serve_batch_size_count"], 3),
    "refused": sum(v for k, v in values.items() if k.startswith("gato_serve_refused_total")),
    "states": states,
    "errors": errors,
    "exit_status": status,
    "cores": os.cpu_count(),
    "load_at_start": load,
    "workdir": arguments.workdir,
  }
  print(json.dumps(row, indent=1))

  if arguments.out:
    with arguments.out.open("a") as f:
      f.write(json.dumps(row) + "\n")

  if errors or status or states[-1]["sessions"]:
    raise SystemExit("errors, an exit status, or sessions that stayed; see above")


if __name__ == "__main__":
  main()
