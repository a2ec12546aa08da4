"""Trains a small network on synthetic batches in processes that tests kill, stop and resume.

Usage: python -m tests.support.train_process WORKDIR STEPS [--kill=N] [--sigterm=N] [--fail=N] ...

The flags act before batch N of this process. It prints "batch N" for each, so that a test can wait
for progress instead of seconds.
"""

import argparse
import atexit
import contextlib
import functools
import json
import logging
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np

from benchmarks.train_step import control_batch
from gato_jax import model
from gato_jax.errors import GatoError
from gato_jax.storage import paths
from gato_jax.train import checkpoint, loop, multihost, optimizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = model.GatoConfig(
  layers=2,
  heads=2,
  width=32,
  feed_forward=64,
  key_size=16,
  patch_channels=32,
  drop_path=0.1,
  # Batches have no text, and most of the time would go into the rows of its pieces.
  text_pieces=1024,
  dtype="float32",
  remat="none",
)
NAMES = ("one.a", "one.b", "two.c")
# Seconds, long enough for a machine that is busy with other things: no process of a test that
# passes waits for them.
TIMEOUT = 1800  # a process that hangs is killed and fails its test
_HEARTBEAT = 900  # one that is silent for so long is missed by the others


def batches(start, rows=None):
  """Yields batch(i), a pure function of i, for i from `start` on."""
  i = start
  while True:
    batch = {**control_batch(4, 36, seed=i), "components": np.array([0, 1, 2, i % 3], np.int32)}
    yield batch if rows is None else {name: value[rows] for name, value in batch.items()}
    i += 1


def interrupted(start, rows, options):
  """Yields the batches, and kills, stops or fails this process on the way."""
  for i, batch in enumerate(batches(start, rows)):
    if i == options.kill:  # after a checkpoint, so that there is something to continue from
      while not newest(options.workdir):
        time.sleep(0.05)
      os.kill(os.getpid(), signal.SIGKILL)

    if i == options.sigterm:
      os.kill(os.getpid(), signal.SIGTERM)
    if i == options.fail:
      raise GatoError("corrupt record 7")
    time.sleep(options.slow)
    print(f"batch {i}", flush=True)
    yield batch


def main() -> None:
  parser = argparse.ArgumentParser()
  parser.add_argument("workdir", type=paths.path)
  parser.add_argument("steps", type=int)
  for name in ("kill", "sigterm", "fail", "processes", "process"):
    parser.add_argument(f"--{name}", type=int)
  parser.add_argument("--coordinator")
  parser.add_argument(
    "--heartbeat", type=int, default=_HEARTBEAT, help="seconds until a killed process is missed"
  )
  parser.add_argument(
    "--farewell", type=int, default=300, help="seconds until one that ended with an error is"
  )
  parser.add_argument("--slow", type=float, default=0.0, help="seconds a batch")
  parser.add_argument("--minutes", type=float, help="instead of STEPS")
  parser.add_argument("--mesh", default="0,1,1")
  parser.add_argument("--checkpoint_every", type=int, default=4)
  parser.add_argument("--log_every", type=int, default=2)
  options = parser.parse_args()
  logging.basicConfig(format="%(message)s")
  multihost._HEARTBEAT_SECONDS, multihost._FAREWELL_SECONDS = options.heartbeat, options.farewell
  data, fsdp, tensor = map(int, options.mesh.split(","))

  with multihost.joined(options.coordinator, options.processes, options.process):
    loop.train(
      model_config=CONFIG,
      train_config=loop.TrainConfig(
        steps=None if options.minutes else options.steps,
        minutes=options.minutes,
        batch_size=4,
        checkpoint_every=options.checkpoint_every,
        log_every=options.log_every,
        mesh_data=data,
        mesh_fsdp=fsdp,
        mesh_model=tensor,
      ),
      optimizer_config=optimizer.OptimizerConfig(peak_learning_rate=1e-2),
      batches=functools.partial(interrupted, options=options),
      meta={"specs": {}},
      tokenizer=b"pieces",
      workdir=options.workdir,
      component_names=NAMES,
    )


@functools.cache
def cache() -> str:
  """Directory of compiled programs, so that a run of many processes compiles once.

  It is that of tests/run.py, if that has started this process.
  """
  if shared := os.environ.get("JAX_COMPILATION_CACHE_DIR"):
    return shared

  folder = tempfile.TemporaryDirectory(prefix="gato_jax-compiled-")
  atexit.register(folder.cleanup)
  return folder.name


@contextlib.contextmanager
def process(command, devices=1, environment=None) -> Iterator[subprocess.Popen]:
  """Starts a process with that many CPU devices and kills it at the end."""
  flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
  ours = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "JAX_COMPILATION_CACHE_DIR": cache()}
  environment = {**os.environ, **ours, **(environment or {})}
  pipe = subprocess.PIPE
  started = subprocess.Popen(
    command, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True
  )

  try:
    yield started
  finally:
    started.kill()
    started.communicate()


def started(workdir, steps, *arguments, devices=1, environment=None):
  """Starts this file as such a process."""
  command = [
    sys.executable,
    "-m",
    "tests.support.train_process",
    str(workdir),
    str(steps),
    *map(str, arguments),
  ]
  return process(command, devices, environment)


def free_address() -> str:
  """Returns host:port for a coordinator."""
  with socket.socket() as free:
    free.bind(("localhost", 0))
    return f"localhost:{free.getsockname()[1]}"


def run(workdir, steps, *arguments, devices=1, environment=None) -> tuple[int, str]:
  """Exit status and standard error of one training process."""
  with started(workdir, steps, *arguments, devices=devices, environment=environment) as one:
    error = one.communicate(timeout=TIMEOUT)[1]
    return one.returncode, error


def run_two(workdir, steps, *arguments, first=(), second=(), devices=4) -> list[tuple[int, str]]:
  """Exit statuses and standard errors of two processes that train together.

  `first` and `second` are additional arguments of one of them.
  """
  joint = (*arguments, f"--coordinator={free_address()}", "--processes=2")

  with (
    started(workdir, steps, *joint, "--process=0", *first, devices=devices) as one,
    started(workdir, steps, *joint, "--process=1", *second, devices=devices) as two,
  ):
    errors = [each.communicate(timeout=TIMEOUT)[1] for each in (one, two)]
    return [(one.returncode, errors[0]), (two.returncode, errors[1])]


def rows(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def learned(workdir):
  """Rows of metrics without those that depend on the clock."""
  timed = ("data_wait", "utilisation")
  return [
    {k: v for k, v in row.items() if "second" not in k and k not in timed} for row in rows(workdir)
  ]


def newest(workdir) -> int:
  """Step of the newest complete checkpoint, or 0."""
  return max(checkpoint.saved_steps(workdir / "checkpoints"), default=0)


if __name__ == "__main__":
  main()
