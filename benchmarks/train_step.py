"""Training tokens per second of any variant on any device, compile time apart.

python benchmarks/train_step.py --variant=tiny --batch=16 --length=256

On an accelerator:
  python benchmarks/train_step.py --variant=gato_1b --batch=16 --length=1024 --loss_chunk=2048
Against PyTorch:
  python benchmarks/train_step.py --preset=cpu --threads=1 --beside=.torch/bin/python

The batch is windows of a control task: --observations values, a separator, --actions values (the
targets). With --patches=P every row has room for P image patches, and --image_rows of them begin
with so many, as in a mixture of tasks with and without images. "gradients" is forward and backward, "step" the whole training step with
AdamW. --beside runs a plain PyTorch decoder (benchmarks/torch_decoder.py) in turn with ours, on the
same cores.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable

import jax
import numpy as np

from gato_jax import model
from gato_jax.model import flops, sharding
from gato_jax.tokens import vocabulary
from gato_jax.train import hardware, optimizer, step

Kind = vocabulary.Kind

# The size that public re-implementations were measured at, with batch 8 and context 256.
PRESETS = {
  "cpu": model.GatoConfig(
    layers=4,
    heads=4,
    width=256,
    feed_forward=1024,
    key_size=64,
    patch_channels=32,
    drop_path=0.0,
    dtype="float32",
    remat="none",
    attention_block=64,
    scan_layers=False,
  )
}


def control_batch(
  rows: int,
  length: int,
  seed: int = 0,
  observations: int = 7,
  actions: int = 1,
  patches: int = 0,
  image_rows: int = 0,
):
  """Returns windows of continuous observations and actions, the first of them behind an image.

  Args:
    rows: B.
    length: L.
    seed: Seed of the values.
    observations: Observation tokens of a timestep.
    actions: Action tokens of a timestep.
    patches: P, for which every row has room.
    image_rows: Rows that begin with P patches.

  Returns:
    Name -> array, as docs/batch.md.
  """
  random = np.random.default_rng(seed)
  timestep = [Kind.CONTINUOUS] * observations + [Kind.SEPARATOR] + [Kind.ACTION] * actions
  kinds_L = np.resize(np.array(timestep, np.int32), (length,))
  first, end = vocabulary.CONTINUOUS_OFFSET, vocabulary.SEPARATOR
  values_BxL = random.integers(first, end, (rows, length))
  tokens_BxL = np.where(kinds_L == Kind.SEPARATOR, vocabulary.SEPARATOR, values_BxL)
  tokens_BxL = tokens_BxL.astype(np.int32)

  # Local positions count the observation tokens of a timestep; all others have -1.
  offset_L = np.arange(length) % len(timestep)
  locals_L = np.where(offset_L < observations, offset_L, -1).astype(np.int32)

  kinds_BxL = np.tile(kinds_L, (rows, 1))
  slots_BxL = np.zeros((rows, length), np.int32)
  kinds_BxL[:image_rows, :patches] = Kind.PATCH
  slots_BxL[:image_rows, :patches] = np.arange(patches)

  return {
    "tokens": tokens_BxL,
    "labels": tokens_BxL,
    "kinds": kinds_BxL,
    "locals": np.tile(locals_L, (rows, 1)),
    "segments": np.ones((rows, length), np.int32),
    "targets": kinds_BxL == Kind.ACTION,
    "prompts": np.zeros((rows, length), bool),
    "patches": random.integers(0, 256, (rows, patches, 16, 16, 3), np.uint8),
    "patch_positions": np.tile(np.array([0, 64, 64, 128], np.int32), (rows, patches, 1)),
    "patch_slots": slots_BxL,
    "components": np.zeros(rows, np.int32),
  }


def timed(call: Callable[[], object], repeats: int) -> list[float]:
  """Returns the seconds of each call, until the devices are done."""
  seconds = []
  for _ in range(repeats):
    began = time.perf_counter()
    jax.block_until_ready(call())
    seconds.append(time.perf_counter() - began)

  return seconds


class Ours:
  """The training step and its gradients alone, compiled."""

  def __init__(self, config: model.GatoConfig, args: argparse.Namespace):
    mesh = sharding.make_mesh(0, args.mesh_fsdp, args.mesh_model)
    self.trainer = step.Trainer(
      config,
      optimizer.OptimizerConfig(),
      mesh,
      components=1,
      loss_chunk=args.loss_chunk,
      accumulate=args.accumulate,
    )

    # The first token of a row is never predicted.
    host_batch = control_batch(
      args.batch,
      args.length,
      observations=args.observations,
      actions=args.actions,
      patches=args.patches,
      image_rows=args.image_rows,
    )
    self.patches = args.patches * args.image_rows
    self.targets = int(host_batch["targets"][:, 1:].sum())

    self.state = self.trainer.init()
    self.batch = self.trainer.put(host_batch)
    self.key = jax.random.key(0)

    # The first of two calls compiles.
    self._gradients = jax.jit(self.trainer.gradients)
    self.names = [args.only] if args.only else ["gradients", "step"]
    self.compile_seconds = {name: timed(getattr(self, name), 2)[0] for name in self.names}

  def gradients(self) -> object:
    with jax.set_mesh(self.trainer.mesh):
      return self._gradients(self.state.params, self.batch, self.key)

  def step(self) -> object:
    self.state, metrics = self.trainer(self.state, self.batch, 1_000)
    return metrics


def beside(args: argparse.Namespace, config: model.GatoConfig, everywhere: bool) -> list[float]:
  """Returns the seconds of each forward and backward pass of the PyTorch decoder."""
  sizes = {
    "layers": config.layers,
    "heads": config.heads,
    "width": config.width,
    "feed_forward": config.feed_forward,
  }
  sizes |= {
    name: getattr(args, name) for name in ("batch", "length", "observations", "actions", "steps")
  }

  # It runs with another interpreter, because PyTorch is not among our packages.
  script = pathlib.Path(__file__).with_name("torch_decoder.py")
  command = [args.beside, str(script), f"--threads={args.threads or os.cpu_count()}"]
  command += [f"--{name}={value}" for name, value in sizes.items()]
  if everywhere:
    command.append("--everywhere")

  done = subprocess.run(command, check=True, capture_output=True, text=True)
  return json.loads(done.stdout)["seconds"]


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument("--variant", default="tiny", choices=sorted(model.VARIANTS))
  parser.add_argument("--preset", choices=sorted(PRESETS), help="instead of a variant")
  parser.add_argument(
    "--set", nargs="*", default=[], metavar="FIELD=VALUE", help="fields of GatoConfig: layers=2"
  )
  for name, default in (
    ("batch", 16),
    ("length", 256),
    ("observations", 7),
    ("actions", 1),
    ("steps", 20),
    ("patches", 0),
    ("image_rows", 0),
  ):
    parser.add_argument(f"--{name}", type=int, default=default)
  parser.add_argument("--loss_chunk", type=int, default=256)
  parser.add_argument("--accumulate", type=int, default=1)
  parser.add_argument("--mesh_fsdp", type=int, default=1)
  parser.add_argument("--mesh_model", type=int, default=1)
  parser.add_argument("--threads", type=int, default=0, help="CPU cores to use; 0: all")
  parser.add_argument(
    "--beside", metavar="PYTHON", help="an interpreter that has torch (benchmarks/requirements.txt)"
  )
  parser.add_argument(
    "--rounds", type=int, default=1, help="of --steps; with --beside ours and PyTorch take turns"
  )
  parser.add_argument("--only", choices=["gradients", "step"], help="compile and time one of them")
  parser.add_argument("--out", help="append the result to this JSONL")
  args = parser.parse_args()

  # Before JAX makes its pool, which has a thread for every core that this process may use.
  if args.threads:
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])

  config = PRESETS[args.preset] if args.preset else model.variant(args.variant)
  changes = dict(part.partition("=")[::2] for part in args.set)
  for name, value in changes.items():
    kind = type(getattr(config, name, None))
    changes[name] = value == "True" if kind is bool else kind(value)
  config = model.GatoConfig.from_json({**config.to_json(), **changes})

  ours = Ours(config, args)
  seconds = {name: [] for name in ours.names}
  if args.beside:
    seconds |= {"PyTorch, logits at targets": [], "PyTorch, logits everywhere": []}

  # Ours and PyTorch take turns, so that other work on the machine hits both.
  for _ in range(args.rounds):
    for name in ours.names:
      seconds[name] += timed(getattr(ours, name), args.steps)
    if args.beside:
      seconds["PyTorch, logits at targets"] += beside(args, config, everywhere=False)
      seconds["PyTorch, logits everywhere"] += beside(args, config, everywhere=True)

  devices, tokens = jax.devices(), args.batch * args.length
  steps = tokens / (args.observations + 1 + args.actions)
  needed = flops.train_step(
    config, rows=args.batch, length=args.length, targets=ours.targets, patches=ours.patches
  )
  peak = hardware.peak_flops(devices)
  median = {name: float(np.median(values)) for name, values in seconds.items()}
  result = {
    "config": dataclasses.asdict(config),
    "command": " ".join(sys.argv),
    "device": f"{len(devices)} x {devices[0].device_kind}",
    "threads": args.threads or os.cpu_count(),
    "tokens": tokens,
    "targets": ours.targets,
    "compile_seconds": ours.compile_seconds,
    "seconds": {
      name: list(np.percentile(values, [10, 50, 90])) for name, values in seconds.items()
    },
    "tokens_per_second": {name: tokens / value for name, value in median.items()},
    "model_flops": needed,
    "peak_flops": peak,
    "utilisation": needed / median[ours.names[-1]] / peak,
  }

  name = args.preset or args.variant
  print(
    f"{name} {args.set or ''} B={args.batch} L={args.length} on {result['device']},"
    f" {result['threads']} threads"
  )
  for label, values in seconds.items():
    slow, middle, fast = tokens / np.percentile(values, [90, 50, 10])
    spread = f"10 % to 90 % of steps: {slow:,.0f} to {fast:,.0f}"
    print(f"  {label}: {middle:,.0f} tokens/s ({spread}), {median[label] * 1e3:,.0f} ms")

  middle = median[ours.names[-1]]
  print(
    f"  {ours.names[-1]}: {steps / middle:,.0f} timesteps/s, {ours.targets / middle:,.0f} target tokens/s"
  )
  print(f"  compiled in {sum(ours.compile_seconds.values()):.1f} s, not counted above")
  print(
    f"  utilisation {result['utilisation']:.1%} of {peak / 1e12:,.2f} TFLOP/s:"
    f" {needed:.3e} model FLOPs a step;"
  )
  print(f"  {flops.FORMULA}")
  for label in [label for label in seconds if label.startswith("PyTorch")]:
    print(f"  ours / {label}: {median[label] / median['gradients']:.2f} (forward and backward)")

  if args.out:
    with open(args.out, "a") as file:
      file.write(json.dumps(result) + "\n")


if __name__ == "__main__":
  main()
