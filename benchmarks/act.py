"""Milliseconds from a raw observation to an action, and the ratio to what memory bandwidth allows.

On one core:                          python benchmarks/act.py --preset=cpu --threads=1
On an accelerator:                    python benchmarks/act.py --variant=gato_1b --batch=1,8,32,64
Is the cost of a step constant?       python benchmarks/act.py --steps=10000 --over_time
What could accelerators reach?        python benchmarks/act.py --variant=gato_1b --batch=1,64 --on_paper

A control task has --observations values and --actions continuous actions; --patches=20 makes it an
image of 80 x 64 pixels with one discrete action. A step is timed by the caller: packing, transfer,
the compiled call, the action back on the host; compile time is apart. The floor is the bytes that a
step cannot avoid reading (weights once for the observation and once for every further action token,
the memory of every environment each time, the head) over the bandwidth of a large copy, measured
here in turn with the steps.

With --on_paper nothing is run: for every known accelerator it prints the bytes and FLOPs of a step,
and the time that these take at the data sheet's bandwidth and peak. The observation and each
further action token are passes one after the other, and a pass takes the longer of its two times.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import sys
import time

import numpy as np

PERCENTILES = (50, 90, 99)


def arguments() -> argparse.Namespace:
  """Parses the command line."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  size = parser.add_mutually_exclusive_group()
  size.add_argument("--variant", default="tiny", help="a key of gato_jax.model.VARIANTS")
  size.add_argument("--preset", choices=["cpu"], help="4 layers, width 256, context 256, float32")
  parser.add_argument("--batch", default="1", help="environments that act together, e.g. 1,8,32,64")
  parser.add_argument("--memory", type=int, help="tokens remembered; the variant's by default")
  parser.add_argument("--dtype", help="of the weights and the memory; the variant's by default")
  parser.add_argument("--observations", type=int, default=17)
  parser.add_argument("--actions", type=int, default=6)
  parser.add_argument(
    "--patches", type=int, choices=[0, 20], default=None, help="default: both tasks in turn"
  )
  parser.add_argument(
    "--steps", type=int, default=300, help="timed, after the memory has been filled"
  )
  parser.add_argument(
    "--rounds", type=int, default=3, help="of --steps each; the spread is over rounds"
  )
  parser.add_argument(
    "--threads", type=int, default=0, help="pin the process to so many cores; 0: all"
  )
  parser.add_argument(
    "--over_time", action="store_true", help="prints the median of every tenth of the steps"
  )
  parser.add_argument(
    "--on_paper", action="store_true", help="prints what accelerators could reach, as Markdown"
  )
  parser.add_argument("--out", type=pathlib.Path, help="appends the rows to this JSONL file")
  return parser.parse_args()


ARGS = arguments()

# Before JAX counts the cores.
if ARGS.threads:
  os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: ARGS.threads])

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from dm_env import specs as dm_specs  # noqa: E402

from gato_jax import model  # noqa: E402
from gato_jax.agent import ActConfig, Engine  # noqa: E402
from gato_jax.agent.prompts import Prompts  # noqa: E402
from gato_jax.model import cache, flops  # noqa: E402
from gato_jax.task import TaskSpec  # noqa: E402
from gato_jax.tokens import codec, layout, vocabulary  # noqa: E402
from gato_jax.train import hardware  # noqa: E402

PRESET = model.GatoConfig(
  layers=4,
  heads=4,
  width=256,
  feed_forward=1024,
  key_size=64,
  patch_channels=32,
  memory_length=256,
  drop_path=0.0,
  dtype="float32",
  remat="none",
)


def task_spec(patches: int) -> TaskSpec:
  if patches:
    image = dm_specs.BoundedArray((80, 64, 3), np.uint8, 0, 255)
    return TaskSpec("bench.frame", {"frame": image}, dm_specs.DiscreteArray(18, np.int32))

  action = dm_specs.BoundedArray((ARGS.actions,), np.float32, -1, 1)
  return TaskSpec(
    "bench.control", {"state": dm_specs.Array((ARGS.observations,), np.float32)}, action
  )


def observe(spec: TaskSpec, random: np.random.Generator) -> dict[str, np.ndarray]:
  if "frame" in spec.observation:
    return {"frame": random.integers(0, 256, (80, 64, 3), np.uint8)}

  return {"state": random.normal(size=ARGS.observations).astype(np.float32)}


def bytes_of(tree: object) -> int:
  return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def pass_bytes(
  config: model.GatoConfig, params: cache.ActingParams, columns: int, batch: int
) -> int:
  """Returns the bytes that a pass of `batch` environments has to read.

  The token table does not count: a pass takes a few of its rows.

  Args:
    config: Of the network.
    params: Its parameters, or their shapes and dtypes.
    columns: Token ids that an action can be.
    batch: Environments, of which each has a slot of the KV cache.
  """
  weights = bytes_of((params.layers, params.relative_keys, params.final_norm))
  itemsize = jnp.dtype(config.dtype).itemsize
  memory = 2 * config.layers * config.heads * config.memory_length * config.key_size * batch

  return weights + (memory + columns * config.width) * itemsize


def floor_bytes(
  config: model.GatoConfig, params: cache.ActingParams, task_layout: layout.TokenLayout, batch: int
) -> int:
  """Returns the bytes that a step of `batch` environments has to read."""
  embedder = params.embedding["patch_embedder"]
  patches = bytes_of(embedder) if task_layout.patch_count else 0

  # Each action token is a pass through the network; the first one reads the observation, too.
  passes = task_layout.action.size
  return passes * pass_bytes(config, params, columns(task_layout), batch) + patches


def columns(task_layout: layout.TokenLayout) -> int:
  """Returns the number of token ids that an action can be."""
  action = task_layout.spec.action
  if isinstance(action, dm_specs.DiscreteArray):
    return action.num_values
  return vocabulary.CONTINUOUS_BINS


def print_on_paper(config: model.GatoConfig, params: cache.ActingParams) -> None:
  """Prints a table of what known accelerators could reach."""
  print("| device | task | batch | GB | GFLOP | ms reading | ms computing | floor ms | actions/s |")
  print("|" + "---|" * 9)

  for kind, device in hardware.DEVICES.items():
    for patches in [0, 20] if ARGS.patches is None else [ARGS.patches]:
      task_layout = layout.TokenLayout(task_spec(patches), codec.default_text_codec())
      for batch in map(int, ARGS.batch.split(",")):
        print(paper_row(config, params, task_layout, batch, kind=kind, device=device))


def paper_row(
  config: model.GatoConfig,
  params: cache.ActingParams,
  task_layout: layout.TokenLayout,
  batch: int,
  *,
  kind: str,
  device: hardware.Device,
) -> str:
  """Returns the row of one accelerator, task and batch."""
  sizes = dict(columns=columns(task_layout), memory=config.memory_length)
  observation = task_layout.observation_length + 1  # with the separator
  first = batch * flops.action(
    config, observation=observation, actions=1, patches=task_layout.patch_count, **sizes
  )
  further = batch * flops.action(config, observation=0, actions=1, patches=0, **sizes)

  # The first pass reads the patch embedder's weights, too.
  passes = task_layout.action.size
  read = pass_bytes(config, params, sizes["columns"], batch)
  read_first = floor_bytes(config, params, task_layout, batch) - (passes - 1) * read

  bytes_of_passes = np.array([read_first] + (passes - 1) * [read])
  flops_of_passes = np.array([first] + (passes - 1) * [further])
  reading = 1000 * bytes_of_passes / device.bandwidth
  computing = 1000 * flops_of_passes / device.peak_flops
  floor = np.maximum(reading, computing).sum()

  return (
    f"| {kind} | {task_layout.spec.name} | {batch} | {bytes_of_passes.sum() / 1e9:.1f} |"
    f" {flops_of_passes.sum() / 1e9:.0f} | {reading.sum():.2f} | {computing.sum():.2f} |"
    f" {floor:.2f} | {1000 * batch / floor:,.0f} |"
  )


def bandwidth(size: int) -> float:
  """Returns the bytes read a second, by summing an array of `size` bytes: the best of a few."""
  array = jnp.ones(size // 4, jnp.float32)
  total = jax.jit(jnp.sum)

  # The first call compiles.
  total(array).block_until_ready()
  seconds = []
  for _ in range(7):
    began = time.perf_counter()
    total(array).block_until_ready()
    seconds.append(time.perf_counter() - began)

  return array.nbytes / min(seconds)


class Case:
  """One task and batch size, compiled and with full memories."""

  def __init__(
    self, config: model.GatoConfig, params: cache.ActingParams, patches: int, batch: int
  ):
    self.spec = task_spec(patches)
    self.batch = batch
    self.layout = layout.TokenLayout(self.spec, codec.default_text_codec())
    act = ActConfig(prompt="none")

    began = time.perf_counter()
    name = self.spec.name
    self.engine = Engine(
      config, params, {name: self.layout}, {name: Prompts(self.layout, [], 0, act)}, batch, act
    )
    self.engine._step(self.engine.buckets[0], batch)
    self.compile_seconds = time.perf_counter() - began

    # The memory is filled before anything is timed.
    random = np.random.default_rng(0)
    self.observations = [observe(self.spec, random) for _ in range(50)]
    for slot in range(batch):
      self.engine.start(slot, name, slot)
    self.run(config.memory_length // self.layout.length + 2)
    self.floor_bytes = floor_bytes(config, params, self.layout, batch)

  def run(self, steps: int) -> np.ndarray:
    """Returns the seconds of each step."""
    seconds = np.zeros(steps)
    for number in range(steps):
      observation = self.observations[number % len(self.observations)]
      began = time.perf_counter()
      self.engine.act(
        {slot: self.engine.pack(self.spec.name, observation) for slot in range(self.batch)}
      )
      seconds[number] = time.perf_counter() - began

    return seconds


def main() -> None:
  config = PRESET if ARGS.preset else model.variant(ARGS.variant)
  changes = {"dtype": ARGS.dtype, "memory_length": ARGS.memory, "drop_path": 0.0}
  config = dataclasses.replace(
    config, **{name: value for name, value in changes.items() if value is not None}
  )

  def make_params() -> cache.ActingParams:
    return cache.acting_params(config, model.init_params(config, jax.random.key(0)))

  if ARGS.on_paper:
    print_on_paper(config, jax.eval_shape(make_params))
    return
  params = make_params()

  device = jax.local_devices()[0]
  cores = len(os.sched_getaffinity(0))
  print(
    f"{ARGS.preset or ARGS.variant}: {config.layers} layers, width {config.width},"
    f" memory {config.memory_length}, {config.dtype}, {device.device_kind}, {cores} cores"
  )
  for patches in [0, 20] if ARGS.patches is None else [ARGS.patches]:
    for batch in map(int, ARGS.batch.split(",")):
      case = Case(config, params, patches, batch)
      size = max(case.floor_bytes // case.layout.action.size, 1 << 22)

      # The bandwidth is measured in turn with the steps: other work on the machine hits both.
      rounds, speeds = [], []
      for _ in range(ARGS.rounds):
        speeds.append(bandwidth(size))
        rounds.append(case.run(ARGS.steps))

      milliseconds = 1000 * np.concatenate(rounds)
      p50, p90, p99 = np.percentile(milliseconds, PERCENTILES)
      medians = [1000 * float(np.median(seconds)) for seconds in rounds]
      floor = 1000 * case.floor_bytes / max(speeds)

      row = dict(
        model=ARGS.preset or ARGS.variant,
        dtype=config.dtype,
        memory=config.memory_length,
        device=device.device_kind,
        cores=cores,
        task=case.spec.name,
        observation_tokens=case.layout.observation_length,
        action_tokens=case.layout.action.size,
        batch=batch,
        p50_ms=round(float(p50), 3),
        p90_ms=round(float(p90), 3),
        p99_ms=round(float(p99), 3),
        medians_of_rounds_ms=[round(m, 3) for m in medians],
        actions_per_s=round(1000 * batch / float(np.mean(milliseconds)), 1),
        floor_ms=round(floor, 3),
        ratio_to_floor=round(float(p50) / floor, 2),
        bandwidth_gb_s=[round(s / 1e9, 1) for s in speeds],
        compile_s=round(case.compile_seconds, 1),
        steps=len(milliseconds),
      )
      print(
        f"{row['task']:14} batch {batch:3}: p50 {p50:8.2f}  p90 {p90:8.2f}  p99 {p99:8.2f} ms  "
        f"{row['actions_per_s']:9.1f} actions/s  floor {floor:7.3f} ms, "
        f"ratio {row['ratio_to_floor']:.2f}  "
        f"(medians of rounds {min(medians):.2f} to {max(medians):.2f}; "
        f"compiled in {row['compile_s']} s)",
        flush=True,
      )

      if ARGS.over_time:
        tenths = [round(float(np.median(part)), 3) for part in np.array_split(milliseconds, 10)]
        row["medians_of_tenths_ms"] = tenths
        print(f"  medians of tenths of {len(milliseconds)} steps: {tenths} ms")

      if ARGS.out:
        with ARGS.out.open("a") as file:
          file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
  sys.exit(main())
